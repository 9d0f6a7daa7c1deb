//! The page about the file.

use super::file::Shared;

/// The page's style, a file of its own: the policy allows no style inside the page.
pub(super) const STYLE: &str = "\
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem; overflow-wrap: anywhere }
a.download { display: inline-block; margin: 1rem 0; padding: .6rem 1.4rem; border-radius: .4rem;
  background: #0b57d0; color: #fff; text-decoration: none }
a.download:focus-visible { outline: 3px solid; outline-offset: 2px }
dt { margin-top: .8rem; font-weight: bold }
dd { margin: 0 }
code { overflow-wrap: anywhere }
";

/// The policy of all answers: one style, and nothing else.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The page, in HTML. The name of the file may contain any text.
pub(super) fn page(file: &Shared, fingerprint: &str) -> String {
    let name = escaped(&file.name);
    let Shared {
        size,
        blake3,
        sha256,
        ..
    } = file;
    let readable = readable(*size);
    format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>{name}</title>
<link rel=\"stylesheet\" href=\"style.css\">
</head>
<body>
<main>
<h1>{name}</h1>
<p>Somebody shares this file with you: {readable}.</p>
<p><a class=\"download\" href=\"file\" download>Download</a></p>
<dl>
<dt>Size</dt><dd>{size} bytes</dd>
<dt>SHA-256</dt><dd><code>{sha256}</code></dd>
<dt>BLAKE3</dt><dd><code>{blake3}</code></dd>
<dt>Fingerprint of the certificate (SHA-256)</dt><dd><code>{fingerprint}</code></dd>
</dl>
<p>Your browser warned you, because nobody vouches for this certificate. To be sure that nobody is in
between, open the certificate in your browser and compare its SHA-256 fingerprint with the one that the
sender sees.</p>
</main>
</body>
</html>
"
    )
}

/// Text in HTML. Control and bidi characters become visible, so that a name cannot pretend to be
/// another one.
fn escaped(text: &str) -> String {
    let visible = hobnob::protocol::text::visible(text);
    let mut html = String::new();
    for character in visible.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// The size in a unit that people know.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} bytes");
    }
    let (mut tenths, mut unit) = (bytes / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_and_never_markup() {
        assert_eq!(
            escaped("<img src='x' onerror=\"alert(1)\">&"),
            "&lt;img src=&#39;x&#39; onerror=&quot;alert(1)&quot;&gt;&amp;"
        );
        assert!(!escaped("a\u{202e}txt.exe").contains('\u{202e}'));
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (52_100, "52.1 kB"),
            (999_999, "999.9 kB"),
            (2_100_000, "2.1 MB"),
            (5_000_000_000_000_000, "5000.0 TB"),
        ] {
            assert_eq!(readable(bytes), text);
        }
    }
}
