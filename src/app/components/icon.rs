//! Icons, from Lucide, drawn as the text beside them is; and the mark of Glimpse.

use icondata_lu as lucide;

/// One of [`lucide`]'s.
pub type Icon = &'static str;

pub const ASK: Icon = lucide::LuArrowUp.data;
pub const CAMERA: Icon = lucide::LuCamera.data;
pub const CHOOSE: Icon = lucide::LuImage.data;
pub const CLOSE: Icon = lucide::LuX.data;
pub const COMPARE: Icon = lucide::LuColumns2.data;
pub const COPIED: Icon = lucide::LuCheck.data;
pub const COPY: Icon = lucide::LuCopy.data;
pub const DESCRIBE: Icon = lucide::LuSparkles.data;
pub const DOWNLOAD: Icon = lucide::LuDownload.data;
pub const EDIT: Icon = lucide::LuPencil.data;
pub const EXAMPLES: Icon = lucide::LuLayoutGrid.data;
pub const HISTORY: Icon = lucide::LuHistory.data;
pub const INFO: Icon = lucide::LuInfo.data;
pub const LINK: Icon = lucide::LuLink.data;
pub const LOOK: Icon = lucide::LuScanEye.data;
pub const MORE: Icon = lucide::LuChevronDown.data;
pub const NEW: Icon = lucide::LuPlus.data;
pub const NEXT: Icon = lucide::LuChevronRight.data;
pub const PIN: Icon = lucide::LuPin.data;
pub const PREVIOUS: Icon = lucide::LuChevronLeft.data;
pub const REMOVE: Icon = lucide::LuTrash2.data;
pub const REPLACE: Icon = lucide::LuRefreshCw.data;
pub const RETRY: Icon = lucide::LuRotateCw.data;
pub const BAD: Icon = lucide::LuThumbsDown.data;
pub const GOOD: Icon = lucide::LuThumbsUp.data;
pub const SHARE: Icon = lucide::LuShare2.data;
pub const SETTINGS: Icon = lucide::LuSlidersHorizontal.data;
pub const STOP: Icon = lucide::LuSquare.data;
pub const WARNING: Icon = lucide::LuTriangleAlert.data;
pub const ZOOM: Icon = lucide::LuZoomIn.data;

/// The eye of Glimpse.
pub const MARK: &str = "<svg class=\"mark\" viewBox=\"0 0 32 32\" aria-hidden=\"true\"><path d=\"M2 16C7 7 25 7 30 16 25 25 7 25 2 16Z\"/>\
                        <circle cx=\"16\" cy=\"16\" r=\"5.4\"/></svg>";

/// An icon as HTML; what it means is said in words by whoever shows it. As HTML, since views of their own would
/// be much for the page to load.
pub fn icon(icon: Icon) -> String {
    [
        "<svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\">",
        icon,
        "</svg>",
    ]
    .concat()
}

/// A button's face as HTML: an icon and plain words.
pub fn face(face: Icon, words: &'static str) -> String {
    [&icon(face), "<span>", words, "</span>"].concat()
}

/// The same with words that are there for who does not see the icon.
pub fn quiet_face(face: Icon, words: &str) -> String {
    [&icon(face), "<span class=\"unseen\">", words, "</span>"].concat()
}
