//! The files of the page. They are part of the program.

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) content: &'static str,
}

const ICON: &str = "image/svg+xml";
const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($path:literal $media_type:ident $file:literal;)*) => {
        /// All files.
        pub(crate) const ASSETS: &[Asset] = &[$(Asset {
            path: $path,
            media_type: $media_type,
            content: include_str!(concat!("../page/", $file)),
        }),*];
    };
}

assets! {
    "/" HTML "index.html";
    "/icon.svg" ICON "icon.svg";
    "/style.css" STYLE "style.css";
    "/login.js" SCRIPT "login.js";
    "/app.js" SCRIPT "app.js";
    "/avatars.js" SCRIPT "avatars.js";
    "/connection.js" SCRIPT "connection.js";
    "/dialogs.js" SCRIPT "dialogs.js";
    "/details.js" SCRIPT "details.js";
    "/dom.js" SCRIPT "dom.js";
    "/files.js" SCRIPT "files.js";
    "/format.js" SCRIPT "format.js";
    "/icons.js" SCRIPT "icons.js";
    "/links.js" SCRIPT "links.js";
    "/list.js" SCRIPT "list.js";
    "/markup.js" SCRIPT "markup.js";
    "/message.js" SCRIPT "message.js";
    "/model.js" SCRIPT "model.js";
    "/node.js" SCRIPT "node.js";
    "/offers.js" SCRIPT "offers.js";
    "/outbox.js" SCRIPT "outbox.js";
    "/programs.js" SCRIPT "programs.js";
    "/settings.js" SCRIPT "settings.js";
    "/strings.js" SCRIPT "strings.js";
    "/thread.js" SCRIPT "thread.js";
}

/// The page that stores the token of a login, and then opens the chat. A file's script can't contain
/// the token, and a script in the page is not allowed, so the page has it as data.
pub(crate) fn logged_in(token: &str) -> String {
    include_str!("../page/login.html").replace("TOKEN", token)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// Limit of all files together, each compressed with gzip.
    const COMPRESSED_BYTES_MAX: usize = 150_000;

    /// Limit of all files together as they are. Browsers get them like this, because they come from
    /// the same machine, and read all of them before the page shows anything.
    const BYTES_MAX: usize = 250_000;

    fn compressed(content: &str) -> usize {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(content.as_bytes()).unwrap();
        gzip.finish().unwrap().len()
    }

    #[test]
    fn the_page_is_small_and_loads_nothing_from_elsewhere() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.content.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
        let bytes: usize = ASSETS.iter().map(|asset| compressed(asset.content)).sum();
        assert!(bytes <= COMPRESSED_BYTES_MAX, "{bytes} bytes compressed");
        for Asset { path, content, .. } in ASSETS {
            // The one name that is no address: the namespace of SVG.
            let content = content.replace("http://www.w3.org/2000/svg", "");
            for foreign in [
                "https://",
                "http://",
                "url(",
                "@import",
                "innerHTML",
                "eval(",
            ] {
                assert!(!content.contains(foreign), "{path} contains {foreign}");
            }
        }
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        for Asset { path, content, .. } in ASSETS {
            let imports = content.split(" from './").skip(1);
            for import in imports {
                let (name, _) = import.split_once('\'').expect("the end of a name");
                let served = ASSETS.iter().any(|asset| asset.path[1..] == *name);
                assert!(served, "{path} imports {name}");
            }
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own() {
        let html = ASSETS[0].content;
        for inline in ["<style", " style=", " onclick=", " onload="] {
            assert!(!html.contains(inline), "{inline}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/"), "{script}");
        }
    }
}
