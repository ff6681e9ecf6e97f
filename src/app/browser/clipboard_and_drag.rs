//! What is pasted and dropped: files, texts and addresses.

use leptos::prelude::{document, window};
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{DataTransfer, File, FileList, HtmlDocument, HtmlTextAreaElement};

/// The text that is pasted, without the space around it.
pub fn pasted_text(data: Option<DataTransfer>) -> String {
    data.and_then(|data| data.get_data("text/plain").ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Puts a text into the clipboard, and says whether it is there, or on its way.
pub fn copy(text: &str) -> bool {
    if window().is_secure_context() {
        // Only a page without the focus is refused, which nobody has pressed a button on.
        let _ = window().navigator().clipboard().write_text(text);
        return true;
    }
    // By http a browser copies what is selected, and nothing else.
    let area = document().create_element("textarea").ok();
    let area = area.and_then(|area| area.dyn_into::<HtmlTextAreaElement>().ok());
    let (Some(area), Some(body)) = (area, document().body()) else {
        return false;
    };
    area.set_class_name("unseen");
    area.set_value(text);
    if body.append_child(&area).is_err() {
        return false;
    }
    area.select();
    let document = document().dyn_into::<HtmlDocument>();
    let is_copied = document.is_ok_and(|document| document.exec_command("copy").unwrap_or(false));
    area.remove();
    is_copied
}

/// The first file of a file input.
pub fn first_file(files: Option<FileList>) -> Option<File> {
    files.and_then(|files| files.get(0))
}

/// The file that is dropped or pasted, a picture before anything else.
pub fn transferred_file(data: Option<DataTransfer>) -> Option<File> {
    let files = data?.files()?;
    let all = || (0..files.length()).filter_map(|index| files.get(index));
    all()
        .find(|file| file.type_().starts_with("image/"))
        .or_else(|| all().next())
}

/// Whether a text is only what a file is called: a file that is copied in a file manager comes
/// with its name or path as text.
pub fn names_file(text: &str, name: &str) -> bool {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    !name.is_empty() && last == name
}

/// The text that hangs on the pointer, in a format.
pub fn dragged_text(data: &DataTransfer, format: &str) -> String {
    data.get_data(format).unwrap_or_default()
}

/// Whether something of these formats hangs on the pointer.
pub fn carries(data: Option<DataTransfer>, formats: &[&str]) -> bool {
    data.is_some_and(|data| {
        let types = data.types();
        formats.iter().any(|&format| types.includes(&format.into(), 0))
    })
}

/// Whether a text is the address of something on the web, and nothing else.
pub fn is_web_address(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !text.contains(char::is_whitespace))
}

/// The address that a dragged link or page stands for, or a dragged text that is one. `read`
/// gives what the browser carries in a format; nothing is the empty text.
pub fn dragged_address(read: impl Fn(&str) -> String) -> Option<String> {
    // Firefox has a format of its own, with the page's title in the second line.
    let links = ["text/uri-list", "text/x-moz-url"].map(|format| {
        let list = read(format);
        let mut lines = list.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        first.unwrap_or_default().to_owned()
    });
    let text = read("text/plain").trim().to_owned();
    links.into_iter().chain([text]).find(|text| is_web_address(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_copied_file_is_told_from_text() {
        assert!(names_file("cat.png", "cat.png"));
        assert!(names_file("/home/ann/cat.png", "cat.png") && names_file("C:\\ann\\cat.png", "cat.png"));
        assert!(!names_file("What is in cat.png?", "image.png") && !names_file("Total\t12", "image.png"));
        assert!(!names_file("", ""));
    }

    #[test]
    fn an_address_of_the_web_stands_alone() {
        assert!(is_web_address("https://example.com/cat.jpg") && is_web_address("HTTP://x"));
        for text in [
            "",
            "https://",
            "cat.jpg",
            "see https://example.com",
            "https://a.com b",
            "file:///x",
        ] {
            assert!(!is_web_address(text), "{text}");
        }
    }

    #[test]
    fn a_dragged_link_page_or_text_is_an_address() {
        let drag = |carried: &'static [(&str, &str)]| {
            dragged_address(|format| {
                let found = carried.iter().find(|(name, _)| *name == format);
                found.map(|(_, text)| (*text).to_owned()).unwrap_or_default()
            })
        };
        let address = Some("https://example.com/cat.jpg".to_owned());
        assert_eq!(
            drag(&[("text/uri-list", "# a cat\r\nhttps://example.com/cat.jpg\r\n")]),
            address
        );
        assert_eq!(
            drag(&[("text/x-moz-url", "https://example.com/cat.jpg\nA cat")]),
            address
        );
        assert_eq!(drag(&[("text/plain", " https://example.com/cat.jpg ")]), address);
        assert_eq!(drag(&[("text/plain", "see https://example.com/cat.jpg")]), None);
        assert_eq!(drag(&[("text/uri-list", "file:///cat.jpg")]), None);
        assert_eq!(drag(&[]), None);
    }
}
