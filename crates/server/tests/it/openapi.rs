//! The committed OpenAPI document is the generated one.

use std::path::Path;

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.json");
    let generated = server::openapi::text().unwrap();
    if std::env::var_os("NEPHKEEP_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "schemas/openapi.json is stale: run this test with NEPHKEEP_BLESS=1 and commit");
}
