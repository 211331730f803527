//! A hardware watchdog that runs from before the UKI is read until the kernel's driver takes it over, so that
//! no hang on the way escapes.

#[cfg(target_arch = "x86_64")]
mod itco;

/// What there is to end a hang.
pub struct Watchdog {
    #[cfg(target_arch = "x86_64")]
    itco: Option<itco::Itco>,
}

impl Watchdog {
    /// Starts the machine's watchdog, if it has one that the kernel's driver takes over while it runs.
    pub fn arm() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            itco: itco::Itco::arm(),
        }
    }

    /// Whether one runs.
    pub fn is_armed(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.itco.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Starts its time anew.
    pub fn reload(&self) {
        #[cfg(target_arch = "x86_64")]
        if let Some(itco) = &self.itco {
            itco.reload();
        }
    }
}
