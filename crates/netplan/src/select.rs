//! Which link a selector means. What links say of themselves is an argument.

use crate::Link;

/// A link, by what it says of itself; all that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Hardware address that the device was made with; where the driver does not say, the one that it has.
    pub mac: Option<[u8; 6]>,
    /// Where the device is: its address on its bus, such as "0000:02:00.0" (PCI) or "1-1.2" (USB).
    pub path: Option<String>,
    /// Name of the driver.
    pub driver: Option<String>,
}

/// What a selector found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// No link.
    None,
    /// One.
    One(&'a Link),
    /// Several, which is none: the first two.
    Several(&'a Link, &'a Link),
}

impl Selector {
    /// Looks through the hardware.
    #[must_use]
    pub fn select<'a>(&self, links: &'a [Link]) -> Selection<'a> {
        let mut found = links.iter().filter(|link| link.physical && self.matches(link));
        match (found.next(), found.next()) {
            (None, _) => Selection::None,
            (Some(link), None) => Selection::One(link),
            (Some(first), Some(second)) => Selection::Several(first, second),
        }
    }

    fn matches(&self, link: &Link) -> bool {
        let own = match link.permanent_address.as_slice() {
            [] => &link.hardware_address,
            _ => &link.permanent_address,
        };
        self.mac.is_none_or(|mac| *own == mac)
            && self.path.as_ref().is_none_or(|path| link.path.contains(path))
            && self.driver.as_ref().is_none_or(|driver| link.driver == *driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u8, driver: &str) -> Link {
        Link {
            index: index.into(),
            name: format!("eth{index}"),
            physical: true,
            hardware_address: vec![2, 0, 0, 0, 0, index],
            driver: driver.to_owned(),
            path: vec!["pci0000:00".into(), format!("0000:0{index}:00.0")],
            ..Link::default()
        }
    }

    #[test]
    fn all_that_is_given_must_match_one_link() {
        let mut links = vec![link(1, "igc"), link(2, "igc"), link(3, "r8169")];
        let mac = |last| Selector { mac: Some([2, 0, 0, 0, 0, last]), ..Selector::default() };
        let driver = |name: &str| Selector { driver: Some(name.to_owned()), ..Selector::default() };
        assert_eq!(mac(2).select(&links), Selection::One(&links[1]));
        assert_eq!(mac(9).select(&links), Selection::None);
        assert_eq!(driver("r8169").select(&links), Selection::One(&links[2]));
        assert_eq!(driver("igc").select(&links), Selection::Several(&links[0], &links[1]));
        let place = Selector { path: Some("0000:02:00.0".into()), ..driver("igc") };
        assert_eq!(place.select(&links), Selection::One(&links[1]));
        assert_eq!(Selector { mac: Some([2, 0, 0, 0, 0, 1]), ..place }.select(&links), Selection::None);
        // As a port of a bond it has the bond's address.
        links[1].permanent_address = links[1].hardware_address.clone();
        links[1].hardware_address = links[0].hardware_address.clone();
        assert_eq!(mac(2).select(&links), Selection::One(&links[1]));
        assert_eq!(mac(1).select(&links), Selection::One(&links[0]));
        links[0].physical = false;
        assert_eq!(mac(1).select(&links), Selection::None, "hardware only");
    }
}
