//! Places on an order's way where a test can end the executor.

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its bytes have come.
    Received,
    /// They are an order for this host.
    Verified,
    /// Its target was looked at.
    Looked,
    /// It may run; the journal does not know it yet.
    Permitted,
    /// It is on disk as started.
    Started,
    /// It ran; the journal does not know how it ended.
    Ran,
    /// Its end is on disk.
    Finished,
    /// Its effect was looked at.
    Checked,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 8] = [
        Self::Received,
        Self::Verified,
        Self::Looked,
        Self::Permitted,
        Self::Started,
        Self::Ran,
        Self::Finished,
        Self::Checked,
    ];
}

/// Is told of each step.
pub trait Probe: Send + Sync {
    /// An order has come this far.
    fn reached(&self, step: Step);
}

/// Does nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn reached(&self, _: Step) {}
}
