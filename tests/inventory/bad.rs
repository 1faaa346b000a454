//! Each file in `bad/` is one inventory that must be refused; the snapshot beside it is all that its writer reads.

use camino::{Utf8Path, Utf8PathBuf};
use kboot::inventory::{InventoryError, load};

const FOLDER: &str = "tests/inventory/bad";

fn told(error: &InventoryError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}\n  hint: {hint}"),
        None => error.to_string(),
    }
}

fn snapshots() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("bad");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(&format!("{}/{FOLDER}", env!("CARGO_MANIFEST_DIR")), "[folder]");
    settings.add_filter(&format!(r"(?m)\b{FOLDER}/"), "");
    settings
}

#[test]
fn bad_inventories_are_told_in_full() {
    let mut files: Vec<Utf8PathBuf> = Utf8Path::new(FOLDER)
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension() == Some("yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 90, "only {} files: is the folder whole?", files.len());
    snapshots().bind(|| {
        for file in &files {
            let error = match load(file) {
                Ok(loaded) => panic!("{file} was taken:\n{:#?}", loaded.cluster),
                Err(error) => told(&error),
            };
            insta::assert_snapshot!(file.file_stem().unwrap(), error);
        }
    });
    // A snapshot whose inventory is gone would never be compared again.
    for entry in Utf8Path::new(FOLDER).read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.extension() == Some("snap") {
            assert!(files.contains(&path.with_extension("yaml")), "{path} belongs to no inventory");
        }
    }
}

#[test]
fn every_mistake_has_its_own_place() {
    let file = Utf8Path::new(FOLDER).join("many.yaml");
    let Err(InventoryError::Invalid(mistakes)) = load(&file) else { panic!("it is bad") };
    let places: Vec<(usize, usize)> = mistakes.iter().map(|mistake| mistakes.position(mistake)).collect();
    assert!(places.len() >= 10, "{mistakes}");
    assert!(places.is_sorted(), "{places:?}");
    for mistake in mistakes.iter() {
        assert!(!mistake.span.is_empty() && !mistake.message.is_empty(), "{mistake:?}");
    }
}
