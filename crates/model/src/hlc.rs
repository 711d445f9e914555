//! A hybrid logical clock: wall time that never goes back (RECORD 13). Kept in `log_head`.

/// Microseconds since 1970-01-01T00:00:00Z in the upper 54 bits, a counter in the lower 10, so that the signed columns
/// of the record hold it until 2255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

const COUNTER_BITS: u32 = 10;

impl Hlc {
    #[must_use]
    pub fn from_micros(micros: u64) -> Self {
        Self(micros << COUNTER_BITS)
    }
    /// The next reading: the wall clock where it is ahead, one more than the last where it is not.
    #[must_use]
    pub fn next(self, wall_micros: u64) -> Self {
        Self((wall_micros << COUNTER_BITS).max(self.0 + 1))
    }
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0 >> COUNTER_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_when_the_wall_clock_does() {
        let first = Hlc(0).next(2_000);
        let second = first.next(1_000);
        assert!(second > first);
        assert_eq!(second.micros(), 2_000);
        assert_eq!(second.next(3_000).micros(), 3_000);
    }

    #[test]
    fn a_signed_column_holds_it_for_two_centuries() {
        let year_2226 = 256 * 31_557_600 * 1_000_000_u64;
        assert!(i64::try_from(Hlc::from_micros(year_2226).0).is_ok());
        // More events than the counter holds in one microsecond go on into the next.
        let mut many = Hlc::from_micros(7);
        (0..5_000).for_each(|_| many = many.next(7));
        assert!(many.micros() > 7 && many > Hlc::from_micros(7));
    }
}
