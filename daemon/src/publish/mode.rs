//! Who carries out what policies ask for.

/// What `holdfast run --mode` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Publish policies and carry them out.
    Full,
    /// Publish policies only: a Velero server carries them out.
    Policy,
    /// Write nothing but PolicySets, which tell what would be published.
    Observe,
}

impl Mode {
    /// As the flag has it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Full => "full",
            Mode::Policy => "policy",
            Mode::Observe => "observe",
        }
    }
}
