//! Names in braces, as webdataset writes them: `{00000..00099}.tar`.

use std::path::PathBuf;

/// Names that a pattern stands for, at most.
const MOST: usize = 1_000_000;

/// The names that a pattern stands for, in order; `None` where it is none.
pub fn expand(pattern: &str) -> Option<Vec<PathBuf>> {
    let names = expanded(pattern)?;
    Some(names.into_iter().map(PathBuf::from).collect())
}

fn expanded(pattern: &str) -> Option<Vec<String>> {
    let (before, rest) = pattern.split_once('{')?;
    let (inside, behind) = rest.split_once('}')?;
    let choices: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => numbers(first, last)?,
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let behind = match behind.contains('{') {
        true => expanded(behind)?,
        false => vec![behind.to_owned()],
    };
    if choices.len().saturating_mul(behind.len()) > MOST {
        return None;
    }
    let names = choices
        .iter()
        .flat_map(|choice| behind.iter().map(move |rest| format!("{before}{choice}{rest}")));
    Some(names.collect())
}

/// Numbers as wide as the first is written.
fn numbers(first: &str, last: &str) -> Option<Vec<String>> {
    let width = first.len();
    let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
    if last < first || last - first >= MOST {
        return None;
    }
    Some((first..=last).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_all_its_names() {
        let names = |pattern: &str| {
            expand(pattern).map(|names| names.iter().map(|name| name.display().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(
            names("d/{008..011}.tar"),
            Some(
                ["d/008.tar", "d/009.tar", "d/010.tar", "d/011.tar"]
                    .map(String::from)
                    .into()
            )
        );
        assert_eq!(
            names("{a,b}-{0..1}.tar"),
            Some(["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"].map(String::from).into())
        );
        for none in [
            "a.tar",
            "{3..1}.tar",
            "{a..b}.tar",
            "{0..99999999}.tar",
            "{0..9",
            "{0..999999}{0..9}",
        ] {
            assert_eq!(names(none), None, "{none}");
        }
    }
}
