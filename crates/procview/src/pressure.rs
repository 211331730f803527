//! Pressure stall information, see the kernel's Documentation/accounting/psi.rst.

use crate::text::text;

/// A file of pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Something waited.
    pub some: Option<PressureShare>,
    /// All that could have run waited.
    pub full: Option<PressureShare>,
}

/// A line of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PressureShare {
    /// Percent of the last 10 s.
    pub avg10: f64,
    /// Of the last 60 s.
    pub avg60: f64,
    /// Of the last 300 s.
    pub avg300: f64,
    /// Microseconds since the start.
    pub total_us: u64,
}

impl Pressure {
    /// Parses the file; nothing where neither line is whole.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut pressure = Self::default();
        for line in text(bytes).lines() {
            match line.split_once(' ') {
                Some(("some", rest)) => pressure.some = share(rest),
                Some(("full", rest)) => pressure.full = share(rest),
                Some(_) | None => {}
            }
        }
        (pressure != Self::default()).then_some(pressure)
    }
}

fn share(line: &str) -> Option<PressureShare> {
    let value = |name: &str| {
        line.split_ascii_whitespace().filter_map(|word| word.split_once('=')).find(|pair| pair.0 == name)
    };
    let average = |name: &str| value(name)?.1.parse::<f64>().ok().filter(|percent| percent.is_finite());
    Some(PressureShare {
        avg10: average("avg10")?,
        avg60: average("avg60")?,
        avg300: average("avg300")?,
        total_us: value("total")?.1.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines() {
        let text = b"some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = Pressure::parse(text).unwrap();
        let some = PressureShare { avg10: 1.5, avg60: 0.25, avg300: 0.0, total_us: 1234 };
        assert_eq!(pressure.some, Some(some));
        assert_eq!(pressure.full.unwrap().total_us, 7);
    }

    #[test]
    fn no_pressure_is_not_unknown_pressure() {
        let quiet = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let pressure = Pressure::parse(quiet).unwrap();
        assert_eq!((pressure.some, pressure.full), (Some(PressureShare::default()), None));
        for text in [&b""[..], b"some avg10=inf avg60=0 avg300=0 total=0", b"some avg10=1 total=2", b"all x"]
        {
            assert_eq!(Pressure::parse(text), None);
        }
    }
}
