//! The cells and pixels that a picture gets on a terminal.

/// The room for a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// Width and height of a cell in pixels, for the shape of the picture.
    pub(super) cell: (u16, u16),
    /// Width and height of a cell in the pixels that the terminal draws: half-blocks have 1 by 2.
    pub(super) drawn: (u16, u16),
    /// Columns and rows that are free.
    pub(super) room: (u16, u16),
}

impl Fit {
    /// The columns and rows for a picture of this many pixels.
    pub(super) fn cells(self, (width, height): (u32, u32)) -> (u16, u16) {
        let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
        let (cell_width, cell_height) = (u64::from(self.cell.0), u64::from(self.cell.1));
        let (most_wide, most_high) = (
            u64::from(self.room.0) * cell_width,
            u64::from(self.room.1) * cell_height,
        );
        let (wide, high) = if width * most_high > height * most_wide {
            let wide = width.min(most_wide);
            (wide, height * wide / width)
        } else {
            let high = height.min(most_high);
            (width * high / height, high)
        };
        let count = |pixels: u64, cell: u64, most: u16| {
            u16::try_from(pixels.div_ceil(cell))
                .unwrap_or(most)
                .clamp(1, most.max(1))
        };
        (
            count(wide, cell_width, self.room.0),
            count(high, cell_height, self.room.1),
        )
    }

    /// The pixels of this many cells.
    pub(super) fn pixels(self, (columns, rows): (u16, u16)) -> (u32, u32) {
        (
            u32::from(columns) * u32::from(self.drawn.0),
            u32::from(rows) * u32::from(self.drawn.1),
        )
    }

    /// As an argument of the decoder's process.
    pub(super) fn to_argument(self) -> String {
        let Self { cell, drawn, room } = self;
        let numbers = [cell.0, cell.1, drawn.0, drawn.1, room.0, room.1];
        numbers.map(|number| number.to_string()).join(",")
    }

    /// Reads the argument of the decoder's process.
    pub(super) fn of_argument(argument: &str) -> Option<Self> {
        let numbers: Vec<u16> = argument
            .split(',')
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()?;
        let [
            cell_width,
            cell_height,
            drawn_width,
            drawn_height,
            columns,
            rows,
        ] = numbers[..]
        else {
            return None;
        };
        let fit = Self {
            cell: (cell_width, cell_height),
            drawn: (drawn_width, drawn_height),
            room: (columns, rows),
        };
        (cell_width > 0 && cell_height > 0).then_some(fit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_shape_and_fits() {
        let fit = Fit {
            cell: (10, 20),
            drawn: (1, 2),
            room: (20, 8),
        };
        for (pixels, cells) in [
            ((400, 400), (16, 8)),
            ((4000, 400), (20, 1)),
            ((10, 4000), (1, 8)),
            ((20, 20), (2, 1)),
            ((1, 1), (1, 1)),
            ((u32::MAX, u32::MAX), (16, 8)),
        ] {
            assert_eq!(fit.cells(pixels), cells, "{pixels:?}");
        }
        assert_eq!(fit.pixels((16, 8)), (16, 16));
    }

    #[test]
    fn the_argument_says_everything() {
        let fit = Fit {
            cell: (9, 18),
            drawn: (1, 2),
            room: (40, 12),
        };
        assert_eq!(Fit::of_argument(&fit.to_argument()), Some(fit));
        for wrong in ["", "1,2,3", "0,2,3,4,5,6", "1,2,3,4,5,6,7", "a,2,3,4,5,6"] {
            assert_eq!(Fit::of_argument(wrong), None, "{wrong}");
        }
    }
}
