//! What a client may do.

use std::fmt;
use std::str::FromStr;

/// A client's role. Each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees state and logs.
    Reader,
    /// Also controls services and power.
    Operator,
    /// Also changes configuration, trust and identity.
    Admin,
}

/// No role has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a role; use admin, operator or reader")]
pub struct RoleError {
    /// What was given.
    pub name: String,
}

impl Role {
    /// All roles, weakest first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Operator, Self::Admin];

    /// Whether this role may do what asks for `needed`.
    #[must_use]
    pub fn allows(self, needed: Self) -> bool {
        self >= needed
    }

    /// The organisation in a client certificate's subject, such as `os:admin`.
    #[must_use]
    pub fn organisation(self) -> &'static str {
        match self {
            Self::Reader => "os:reader",
            Self::Operator => "os:operator",
            Self::Admin => "os:admin",
        }
    }

    /// The role of an organisation; `None` for any other text.
    #[must_use]
    pub fn from_organisation(organisation: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.organisation() == organisation)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    /// Writes `admin`, `operator` or `reader`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    /// Takes `admin` as well as `os:admin`.
    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text || role.organisation() == text)
            .ok_or_else(|| RoleError { name: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered() {
        let allowed = |role: Role| Role::ALL.map(|needed| role.allows(needed));
        assert_eq!(allowed(Role::Reader), [true, false, false]);
        assert_eq!(allowed(Role::Operator), [true, true, false]);
        assert_eq!(allowed(Role::Admin), [true, true, true]);
    }

    #[test]
    fn names_round_trip() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(role.organisation().parse(), Ok(role));
            assert_eq!(Role::from_organisation(role.organisation()), Some(role));
            assert_eq!(Role::from_organisation(&role.to_string()), None);
        }
        assert!("root".parse::<Role>().is_err());
    }
}
