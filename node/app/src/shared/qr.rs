//! QR codes of text, drawn with half blocks: two rows of modules in one line.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// The lines of the code, for a terminal with a dark background or a light one: the quiet zone is
/// part of it. None if the text is too long for a code.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let Ok(code) = QrCode::new(text) else {
        return Vec::new();
    };
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    drawn.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_fits_a_terminal() {
        let lines = lines("481593-maple-violin-stone@relay.example:4627");
        assert!((15..=24).contains(&lines.len()), "{} lines", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 60));
        let blocks = lines.concat();
        assert!(blocks.chars().all(|c| " █▀▄".contains(c)), "{blocks}");
    }

    #[test]
    fn a_text_that_is_too_long_has_no_code() {
        assert!(lines(&"x".repeat(10_000)).is_empty());
    }
}
