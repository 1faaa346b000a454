//! The documentation against what it documents.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use kboot::preflight::Check;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_preflight_check_is_documented_and_no_other() {
    let documented = first_column("docs/preflight.md");
    let checks: BTreeSet<String> = Check::all().map(|check| check.to_string()).collect();
    assert_eq!(documented, checks);
}

#[test]
fn every_step_is_documented_and_no_other() {
    let documented = first_column("docs/files.md");
    let steps: BTreeSet<String> = kboot::steps::names().map(String::from).collect();
    assert_eq!(documented, steps);
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        let folder = page.parent().unwrap();
        for target in links(&text) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(file.exists(), "{page} leads to {target}, which is not there");
            if !anchor.is_empty() {
                assert!(headings(&read(&file)).contains(anchor), "{page} leads to {target}, which has no such heading");
            }
        }
    }
}

#[test]
fn what_a_page_shows_of_the_repository_is_there() {
    let makefile = read(&Utf8Path::new(ROOT).join("Makefile"));
    for page in pages() {
        let text = read(&page);
        for word in words_after(&text, "make ") {
            // A target begins a command or a code span; "make sure" is no target.
            let is_target = makefile.lines().any(|line| line.starts_with(&format!("{word}:")));
            assert!(is_target, "{page} names `make {word}`, which the Makefile does not have");
        }
    }
}

/// Whoever can write there could put something into a folder or file whose name is known.
#[test]
fn nothing_is_kept_in_shared_folders() {
    for file in sources(&Utf8Path::new(ROOT).join("src")) {
        let text = read(&file);
        let product = text.split("#[cfg(test)]").next().unwrap();
        for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
            assert!(!product.contains(&format!("\"{folder}")), "{file} names {folder}");
        }
        assert!(!product.contains("temp_dir()"), "{file} asks for the shared folder");
        for bare in ["tempfile::tempdir()", "tempfile::tempfile()", "NamedTempFile::new()", ".tempfile()", ".tempdir()"]
        {
            let is_test =
                file.file_name().is_some_and(|name| name.contains("test")) || file.as_str().contains("property");
            assert!(is_test || !product.contains(bare), "{file} has `{bare}`, which is in a shared folder");
        }
    }
}

/// What `cli` prints for people is cleaned in one place, so nothing else there may have a stream of its own.
#[test]
fn commands_print_through_one_place() {
    // The agent's standard output is the conversation; `mod.rs` has the developer's log.
    let exceptions = [("exit.rs", ""), ("agent.rs", "tokio::io::stdout()"), ("mod.rs", "with_writer(std::io::stderr)")];
    for file in sources(&Utf8Path::new(ROOT).join("src/cli")) {
        let mut text = read(&file);
        for (_, allowed) in exceptions.iter().filter(|(name, _)| file.file_name() == Some(name)) {
            text = if allowed.is_empty() { String::new() } else { text.replace(allowed, "") };
        }
        for stream in ["io::stdout", "io::stderr", "println!", "print!(", "Term::"] {
            assert!(!text.contains(stream), "{file} has `{stream}` and not `exit`'s functions");
        }
    }
}

/// What runs on a host gives hints that have a code: its words would be dropped on the way. These modules run on the controller alone.
#[test]
fn only_the_controller_words_hints_itself() {
    const CONTROLLERS: [&str; 9] = [
        "src/adopt/",
        "src/cli/",
        "src/controller/",
        "src/fleet/",
        "src/lock/",
        "src/plan/",
        "src/playbook/",
        "src/preflight/",
        "src/report/",
    ];
    const DEFINITIONS: [&str; 2] = ["src/engine/failure.rs", "src/engine/hint/mod.rs"];
    for file in sources(&Utf8Path::new(ROOT).join("src")) {
        let relative = file.strip_prefix(ROOT).unwrap().as_str();
        let is_survey = relative == "src/adopt/survey.rs";
        let is_controller = CONTROLLERS.iter().any(|folder| relative.starts_with(folder)) && !is_survey;
        if is_controller || DEFINITIONS.contains(&relative) {
            continue;
        }
        let text = read(&file);
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for words in ["hint_text(", "Hint::text", "Hint::Text"] {
            assert!(!product.contains(words), "{relative} may run on a host and has `{words}`: add a hint with a code");
        }
    }
}

/// tests/needs.sh installs by its list; README says beforehand what that is.
#[test]
fn readme_names_the_packages_that_are_installed() {
    let needs = read(&Utf8Path::new(ROOT).join("tests/needs.sh"));
    let (_, list) = needs.split_once("NEEDS='\n").unwrap();
    let (list, _) = list.split_once("'\n").unwrap();
    let commands = ["build", "lint", "unit", "testbed", "e2e"];
    let mut installed = BTreeSet::new();
    for line in list.lines() {
        let mut words = line.split_whitespace().skip(1);
        let package = words.next().unwrap();
        if words.any(|usage| commands.contains(&usage)) {
            installed.insert(package);
        }
    }
    let readme = read(&Utf8Path::new(ROOT).join("README.md"));
    let (_, table) = readme.split_once("| for | packages |\n|---|---|\n").unwrap();
    let cells = table.lines().map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    // A package may have a remark.
    let names = cells.flat_map(|(_, packages)| packages.split(", ")).filter_map(|package| package.split(' ').next());
    assert_eq!(names.collect::<BTreeSet<_>>(), installed);
}

/// A promise of an older Rust than the one that the tests run with would be a guess (CONTRIBUTING.md).
#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let script = ". tests/needs.sh; oldest_rust";
    let setup = std::process::Command::new("bash").args(["-c", script]).current_dir(ROOT).output().unwrap();
    assert_eq!(String::from_utf8(setup.stdout).unwrap().trim_end(), oldest, "what tests/setup asks for");
    let mut named = BTreeSet::new();
    // The changelog has the versions of earlier days.
    for page in pages().into_iter().filter(|page| page.file_name() != Some("CHANGELOG.md")) {
        let text = read(&page);
        let words = text.split("Rust ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        for version in words.map(|word| word.trim_end_matches(|c: char| !c.is_ascii_digit())) {
            if version.starts_with(|c: char| c.is_ascii_digit()) {
                assert_eq!(version, oldest, "the Rust that {page} asks for");
                named.insert(page.file_name().unwrap().to_string());
            }
        }
    }
    assert!(["README.md", "CONTRIBUTING.md"].iter().all(|page| named.contains(*page)), "only in {named:?}");
}

/// The picture in ARCHITECTURE.md: what each module may use of the others. Tests may use what they like.
const MAY_USE: [(&str, &str); 28] = [
    ("adopt", "agree engine equivalence facts inventory kube kubeadm manifest openpgp pki"),
    ("agent", "adopt baseline engine facts kube lock resource steps"),
    ("agree", ""),
    ("equivalence", ""),
    ("baseline", "engine proc"),
    ("bootstrap", "inventory names pki"),
    (
        "cli",
        "adopt agent bootstrap controller engine facts fleet inventory kube kubeadm lock manifest openpgp pki plan playbook preflight report steps",
    ),
    ("controller", "agent engine facts fleet inventory lock plan playbook preflight report steps"),
    ("engine", "inventory pki proc"),
    ("etcd", "engine"),
    ("facts", "engine proc"),
    ("fetch", "engine names"),
    ("fleet", "agent engine inventory names"),
    ("inventory", "openpgp"),
    ("kube", "engine names"),
    ("kubeadm", "bootstrap inventory pki"),
    ("lock", "agree engine inventory"),
    ("manifest", "inventory"),
    ("names", ""),
    ("openpgp", ""),
    ("pki", "inventory"),
    ("plan", "engine inventory lock playbook"),
    ("playbook", "agent engine facts inventory steps"),
    ("preflight", "engine facts inventory"),
    ("proc", ""),
    ("report", "engine pki"),
    ("resource", "engine equivalence etcd fetch inventory kube openpgp pki proc"),
    ("steps", "baseline bootstrap engine equivalence etcd facts fetch inventory kube lock manifest pki proc resource"),
];

#[test]
fn dependencies_point_one_way() {
    let mut used = BTreeSet::new();
    for file in sources(&Utf8Path::new(ROOT).join("src")) {
        let relative = file.strip_prefix(ROOT).unwrap().as_str();
        let module = relative.split('/').nth(1).unwrap().trim_end_matches(".rs").to_string();
        // `fuzz` is no part of a build, and calls whatever it tests.
        if ["fuzz", "lib", "main"].contains(&module.as_str()) {
            continue;
        }
        for other in uses(&read(&file)) {
            if other == module {
                continue;
            }
            let (_, allowed) = MAY_USE.iter().find(|(known, _)| *known == module).expect("a module of the table");
            assert!(
                allowed.split(' ').any(|name| name == other),
                "{relative} uses {other}, which {module} must not know"
            );
            used.insert((module.clone(), other));
        }
    }
    for (module, allowed) in MAY_USE {
        for other in allowed.split_whitespace() {
            let edge = (module.to_string(), other.to_string());
            assert!(used.contains(&edge), "{module} does not use {other} any more: take it out of the table");
        }
    }
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let src = Utf8Path::new(ROOT).join("src");
    let files = sources(&src);
    let places: BTreeMap<Vec<String>, &Utf8PathBuf> = files.iter().map(|file| (place(&src, file), file)).collect();
    let imports: BTreeMap<&Utf8PathBuf, BTreeSet<&Utf8PathBuf>> = places
        .iter()
        .map(|(own, file)| {
            let targets = paths(&read(file)).into_iter().filter_map(|path| resolve(own, &path, &places));
            // A folder and the file that speaks for it are one room.
            let is_of_folder = |other: &Vec<String>| other.starts_with(own) || own.starts_with(other);
            (*file, targets.filter(|target| !is_of_folder(target)).map(|target| places[&target]).collect())
        })
        .collect();
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 500, "the imports are not found");
    for start in imports.keys() {
        let mut way = vec![*start];
        if let Some(circle) = circle(&imports, &mut way, &mut BTreeSet::new()) {
            let src = |file: &&Utf8PathBuf| file.strip_prefix(&src).unwrap().to_string();
            panic!("a circle of imports: {}", circle.iter().map(src).collect::<Vec<_>>().join(" -> "));
        }
    }
}

/// The way from the last file of `way` back to the first, if there is one.
fn circle<'a>(
    imports: &BTreeMap<&'a Utf8PathBuf, BTreeSet<&'a Utf8PathBuf>>,
    way: &mut Vec<&'a Utf8PathBuf>,
    seen: &mut BTreeSet<&'a Utf8PathBuf>,
) -> Option<Vec<&'a Utf8PathBuf>> {
    for next in &imports[way[way.len() - 1]] {
        if *next == way[0] {
            return Some([&way[..], &[next]].concat());
        }
        if seen.insert(next) {
            way.push(next);
            if let Some(found) = circle(imports, way, seen) {
                return Some(found);
            }
            way.pop();
        }
    }
    None
}

/// The module of a file, as its path in the crate.
fn place(src: &Utf8Path, file: &Utf8Path) -> Vec<String> {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<String> = path.components().map(|part| part.as_str().to_string()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// All paths of the crate that a file's code names, its tests left out, with lists taken apart.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("super::").chain(code.match_indices("crate::")) {
        let is_start = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if is_start {
            spread(&code[at..], Vec::new(), &mut found);
        }
    }
    found
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`; gives back what follows.
fn spread<'a>(code: &'a str, mut before: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = code.trim_start();
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            before.push(rest[..end].to_string());
            rest = &rest[end..];
        }
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => break,
        }
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = spread(inside, before.clone(), found).trim_start();
                match inside.strip_prefix(',') {
                    Some(more) if more.trim_start().starts_with('}') => inside = more.trim_start(),
                    Some(more) => inside = more,
                    None => return inside.strip_prefix('}').unwrap_or(inside),
                }
                if let Some(after) = inside.strip_prefix('}') {
                    return after;
                }
            }
        }
    }
    found.push(before);
    // `as NAME` in a list.
    rest.find([',', '}', ';']).map_or("", |end| &rest[end..])
}

/// The module that a path leads to, from a file of another.
fn resolve(own: &[String], path: &[String], places: &BTreeMap<Vec<String>, &Utf8PathBuf>) -> Option<Vec<String>> {
    let mut at = own.to_vec();
    let mut words = path.iter().peekable();
    if words.next_if(|word| *word == "crate").is_some() {
        at.clear();
    }
    while words.next_if(|word| *word == "super").is_some() {
        at.pop();
    }
    for word in words {
        at.push(word.clone());
        if !places.contains_key(&at) {
            at.pop();
            break;
        }
    }
    places.contains_key(&at).then_some(at)
}

/// Source files that are more than tests.
fn sources(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    const OF_TESTS: [&str; 6] = ["tests.rs", "_tests.rs", "testing.rs", "samples.rs", "fake.rs", "fixture.rs"];
    let mut files = Vec::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension() == Some("rs") && !OF_TESTS.iter().any(|end| path.as_str().ends_with(end)) {
            files.push(path);
        }
    }
    files
}

/// The modules of the crate that a file's code names, its tests left out.
fn uses(text: &str) -> BTreeSet<String> {
    let of_crate = paths(text).into_iter().filter(|path| path[0] == "crate");
    of_crate.filter_map(|path| path.into_iter().nth(1)).collect()
}

/// The code spans that begin the rows of a page's tables.
fn first_column(page: &str) -> BTreeSet<String> {
    let text = read(&Utf8Path::new(ROOT).join(page));
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names: Vec<String> = cells.map(|(name, _)| name.to_string()).collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(unique.len(), names.len(), "{page} has a row twice");
    unique
}

fn pages() -> Vec<Utf8PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", ".github", "docs", "tests/testbed"] {
        let entries = Utf8Path::new(ROOT).join(folder).read_dir_utf8().unwrap();
        let paths = entries.map(|entry| entry.unwrap().into_path());
        pages.extend(paths.filter(|path| path.extension() == Some("md")));
    }
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

fn read(path: &Utf8Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// As GitHub makes anchors of them.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |title: &str| {
        let kept = title.to_lowercase();
        kept.chars().filter(|c| c.is_alphanumeric() || "- ".contains(*c)).collect::<String>().replace(' ', "-")
    };
    titles.map(anchor).collect()
}

/// The word that follows `prefix` where that begins a code span or an indented line.
fn words_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let spans = text.split('`').skip(1).step_by(2);
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    spans
        .chain(lines)
        .filter_map(|code| code.strip_prefix(prefix))
        .filter_map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '-')).next())
        .collect()
}
