//! Matrices of NumPy's `.npy` files: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
//!
//! Read here and not by a crate: those that there are bring a parser of Python's literals, a dozen crates with assembly
//! among them, for a header of three keys that NumPy writes in one way.

use half::f16;

/// A matrix, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Its numbers.
    pub values: Vec<f32>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NpyError {
    /// It does not begin as one.
    #[error("not an npy file: it does not begin with \\x93NUMPY and a version of 1 to 3")]
    Format,
    /// The header lacks something, or says it in another way than NumPy does.
    #[error("the header {header:?} has no `{key}` that can be read")]
    Header {
        /// What was looked for.
        key: &'static str,
        /// The header.
        header: String,
    },
    /// Other numbers than those of floating point.
    #[error("it holds numbers of type {0:?}, expected f4, f8 or f2 (`array.astype('f4')`)")]
    Type(String),
    /// Not a matrix.
    #[error("it has shape {0:?}, expected two dimensions: a row an item")]
    Shape(Vec<usize>),
    /// Column by column.
    #[error("it is stored column by column; save `numpy.ascontiguousarray(array)`")]
    Order,
    /// It ends early, or goes on after its end.
    #[error("it holds {found} bytes of numbers, its shape says {expected}")]
    Length {
        /// Bytes behind the header.
        found: usize,
        /// Bytes of the shape.
        expected: usize,
    },
}

/// Reads the bytes of a file.
///
/// # Errors
/// [`NpyError`], with what was found and what was expected.
pub fn parse(bytes: &[u8]) -> Result<Matrix, NpyError> {
    let (header, data) = split(bytes).ok_or(NpyError::Format)?;
    let descr = text_of(header, "descr")?;
    if value_of(header, "fortran_order")?.starts_with("True") {
        return Err(NpyError::Order);
    }
    let shape = shape_of(header)?;
    let &[rows, columns] = &shape[..] else { return Err(NpyError::Shape(shape)) };
    let (width, reversed, read) = reader(descr).ok_or_else(|| NpyError::Type(descr.to_owned()))?;
    let expected = rows.saturating_mul(columns).saturating_mul(width);
    if data.len() != expected {
        return Err(NpyError::Length { found: data.len(), expected });
    }
    let number = |bytes: &[u8]| {
        let mut raw = [0; size_of::<f64>()];
        raw[..width].copy_from_slice(bytes);
        raw[..width].reverse();
        read(if reversed { &raw } else { bytes })
    };
    Ok(Matrix { shape: [rows, columns], values: data.chunks_exact(width).map(number).collect() })
}

/// The header's text, and what comes behind it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (version, rest) = rest.split_at_checked(2)?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(raw, rest)| (usize::from(u16::from_le_bytes(*raw)), rest))?,
        2 | 3 => rest.split_first_chunk::<4>().map(|(raw, rest)| (u32::from_le_bytes(*raw) as usize, rest))?,
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// What stands behind a key of the header.
fn value_of<'a>(header: &'a str, key: &'static str) -> Result<&'a str, NpyError> {
    let missing = || NpyError::Header { key, header: header.trim_end().to_owned() };
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let (_, rest) = quoted.iter().find_map(|quoted| header.split_once(quoted.as_str())).ok_or_else(missing)?;
    Ok(rest.trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start())
}

fn text_of<'a>(header: &'a str, key: &'static str) -> Result<&'a str, NpyError> {
    let missing = || NpyError::Header { key, header: header.trim_end().to_owned() };
    let value = value_of(header, key)?;
    let quote = value.chars().next().filter(|quote| "'\"".contains(*quote)).ok_or_else(missing)?;
    value[1..].split_once(quote).map(|(text, _)| text).ok_or_else(missing)
}

fn shape_of(header: &str) -> Result<Vec<usize>, NpyError> {
    let missing = || NpyError::Header { key: "shape", header: header.trim_end().to_owned() };
    let inside = value_of(header, "shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inside, _) = inside.ok_or_else(missing)?;
    let numbers = inside.split(',').map(str::trim).filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().map_err(|_| missing())).collect()
}

/// How the bytes of a number are read, the least first.
type Read = fn(&[u8]) -> f32;

/// Bytes of a number of this type, whether the greatest come first, and how it is read; numbers of 64 bits are rounded.
fn reader(descr: &str) -> Option<(usize, bool, Read)> {
    /// The first bytes of a number, which the caller has cut to its width.
    fn raw<const N: usize>(bytes: &[u8]) -> [u8; N] {
        std::array::from_fn(|at| bytes[at])
    }
    let (order, of) = descr.split_at_checked(1)?;
    let reversed = match order {
        "<" => false,
        ">" => true,
        _ => return None,
    };
    Some(match of {
        "f4" => (4, reversed, |bytes| f32::from_le_bytes(raw(bytes))),
        "f8" => (8, reversed, |bytes| f64::from_le_bytes(raw(bytes)) as f32),
        "f2" => (2, reversed, |bytes| f16::from_le_bytes(raw(bytes)).to_f32()),
        _ => return None,
    })
}

/// The bytes of a matrix as `numpy.save` writes them: version 1, `<f4`, the data aligned to 64 bytes.
#[cfg(test)]
pub(super) fn encode(matrix: &Matrix) -> Vec<u8> {
    let [rows, columns] = matrix.shape;
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let before = b"\x93NUMPY".len() + 4;
    let padding = (before + header.len() + 1).next_multiple_of(64) - (before + header.len() + 1);
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = u16::try_from(header.len()).expect("a header is a line");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(matrix.values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend_from_slice(&(header.len() as u16).to_le_bytes()),
            _ => bytes.extend_from_slice(&(header.len() as u32).to_le_bytes()),
        }
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn header(descr: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}   \n")
    }

    #[test]
    fn what_is_written_is_read_and_lies_where_numpy_puts_it() {
        let matrix = Matrix { shape: [2, 3], values: vec![1.0, -2.5, 0.0, 4.0, 1e-8, 6.0] };
        let bytes = encode(&matrix);
        assert_eq!(parse(&bytes), Ok(matrix));
        assert_eq!((bytes.len() - 24) % 64, 0);
        // The first bytes of `numpy.save` of such an array, NumPy 2.
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        assert_eq!(&bytes[10..70], b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ");
    }

    #[test]
    fn all_floating_types_versions_and_byte_orders_are_read() {
        let (one, half): (f32, f32) = (1.0, -0.5);
        let doubles = [[0, 0, 0, 0, 0, 0, 0xF0, 0x3F], [0, 0, 0, 0, 0, 0, 0xE0, 0xBF]];
        let reversed = doubles.map(|mut bytes| {
            bytes.reverse();
            bytes
        });
        let cases: [(&str, Vec<u8>); 6] = [
            ("<f4", [one.to_le_bytes(), half.to_le_bytes()].concat()),
            (">f4", vec![0x3F, 0x80, 0, 0, 0xBF, 0, 0, 0]),
            ("<f8", doubles.concat()),
            (">f8", reversed.concat()),
            ("<f2", vec![0x00, 0x3C, 0x00, 0xB8]),
            (">f2", vec![0x3C, 0x00, 0xB8, 0x00]),
        ];
        for (descr, data) in cases {
            for version in [1, 2, 3] {
                let read = parse(&file(version, &header(descr, "(1, 2)"), &data));
                assert_eq!(read, Ok(Matrix { shape: [1, 2], values: vec![1.0, -0.5] }), "{descr}, version {version}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            (b"PK\x03\x04 an npz".to_vec(), "not an npy file"),
            (file(9, "", &[]), "not an npy file"),
            (file(1, &header("<i8", "(1, 2)"), &[0; 16]), "it holds numbers of type \"<i8\", expected f4"),
            (file(1, &header("|O", "(1, 2)"), &[0; 16]), "it holds numbers of type \"|O\""),
            (file(1, &header("<f4", "(2,)"), &[0; 8]), "it has shape [2], expected two dimensions"),
            (file(1, &header("<f4", "(1, 2, 3)"), &[0; 24]), "it has shape [1, 2, 3]"),
            (file(1, &header("<f4", "(1, x)"), &[0; 8]), "the header \"{'descr': '<f4'"),
            (file(1, "{'descr': '<f4', 'shape': (1, 2)}", &[0; 8]), "the header"),
            (file(1, &header("<f4", "(1, 2)").replace("False", "True"), &[0; 8]), "it is stored column by column"),
            (file(1, &header("<f4", "(1, 2)"), &[0; 7]), "it holds 7 bytes of numbers, its shape says 8"),
            (file(1, &header("<f4", "(18446744073709551615, 9)"), &[0; 8]), "it holds 8 bytes of numbers"),
        ];
        for (bytes, expected) in cases {
            let refused = parse(&bytes).expect_err(expected).to_string();
            assert!(refused.starts_with(expected), "{refused}");
        }
        let whole = encode(&Matrix { shape: [1, 4], values: vec![1.0; 4] });
        (0..whole.len()).for_each(|cut| assert!(parse(&whole[..cut]).is_err(), "cut at {cut}"));
    }
}
