//! Medians and quartiles.

/// Measured values, sorted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// `None` if there are no values.
    pub(crate) fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The first and the third quartile.
    pub(crate) fn quartiles(&self) -> (f64, f64) {
        (self.quantile(0.25), self.quantile(0.75))
    }

    /// Interpolates linearly between two samples.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length"
    )]
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = share * (self.0.len() - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        self.0[low] + (self.0[high] - self.0[low]) * place.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated_between_samples() {
        let samples = Samples::new(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            (samples.median(), samples.quartiles(), samples.count()),
            (2.5, (1.75, 3.25), 4)
        );
        assert_eq!(Samples::new(vec![7.0]).unwrap().quartiles(), (7.0, 7.0));
        assert_eq!(Samples::new(Vec::new()), None);
    }
}
