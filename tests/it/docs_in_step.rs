//! Pages that are made from the sources are those that the sources make. `MIRRA_BLESS=1 cargo test` writes them anew.

use std::path::Path;

#[test]
fn metrics_page() {
    in_step("docs/metrics.md", &mirra::telemetry::metrics::page());
}

fn in_step(page: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("MIRRA_BLESS").is_some() {
        std::fs::write(&path, made).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{page} is not what the sources make: MIRRA_BLESS=1 cargo test writes it anew");
}
