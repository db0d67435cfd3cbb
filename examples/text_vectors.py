#!/usr/bin/env python3
"""Vectors of items from their words, where no encoder of texts is at hand: the standard library alone.

    text_vectors.py ITEMS.tsv[.gz] OUT.safetensors COLUMN... [--dim 128]

Random indexing (Kanerva, Kristofersson & Holst 2000): every word has a direction of its own, drawn at random from the word
itself; an item is the sum of its words' directions, each weighing ln(items / items with the word). Words of one item alone
say nothing of others and are left out. Cells are parted by `|`; of each part its words of three letters and more count, and
the part as a whole; a number stands for itself, its five and its ten. The file goes to

    mirra load embeddings text OUT.safetensors
"""
import argparse, array, collections, csv, gzip, json, math, random, re, struct, sys


def words(column, cell):
    for part in filter(None, cell.split("|")):
        if re.fullmatch(r"-?\d+(\.\d+)?", part):
            number = float(part)
            yield from (f"{column}={number:g}", f"{column}~{number // 5}", f"{column}~~{number // 10}")
        else:
            yield from re.findall(r"[^\W\d_]{3,}", part.lower())
            yield f"{column}={part}"


def direction(word, dim):
    draw = random.Random(word)
    return [draw.gauss(0.0, 1.0) for _ in range(dim)]


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("items"), options.add_argument("out"), options.add_argument("columns", nargs="+")
    options.add_argument("--dim", type=int, default=128)
    options = options.parse_args()
    opened = gzip.open if options.items.endswith(".gz") else open
    with opened(options.items, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    missing = [name for name in ["item", *options.columns] if not rows or name not in rows[0]]
    if missing:
        sys.exit(f"{options.items}: no column {', '.join(missing)}")
    texts = {row["item"]: {word for name in options.columns for word in words(name, row[name] or "")} for row in rows}
    items_with = collections.Counter(word for text in texts.values() for word in text)
    ids, numbers, directions = [], array.array("f"), {}
    for item, text in texts.items():
        told = sorted(word for word in text if 1 < items_with[word] < len(texts))
        for word in told:
            directions.setdefault(word, direction(word, options.dim))
        weighed = [(math.log(len(texts) / items_with[word]), directions[word]) for word in told]
        if weighed:
            ids.append(item)
            numbers.extend(sum(weight * towards[at] for weight, towards in weighed) for at in range(options.dim))
    if sys.byteorder == "big":
        numbers.byteswap()
    tensor = {"dtype": "F32", "shape": [len(ids), options.dim], "data_offsets": [0, 4 * len(numbers)]}
    head = json.dumps({"__metadata__": {"items": "\n".join(ids)}, "vectors": tensor}).encode()
    head += b" " * (-len(head) % 8)
    with open(options.out, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head + numbers.tobytes())
    print(f"{len(ids)} of {len(texts)} items, {len(directions)} words")


main()
