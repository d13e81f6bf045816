//! What the columns of a tick mean: content-addressed, sent when it changes.

use serde::{Deserialize, Serialize};

use super::MAX_TEXT;
use crate::bytes::SchemaId;
use crate::ids::sha256;
use crate::metric::{self, Kind, MetricId, Unit};

/// Most columns in one schema: room for 256 cores, 64 mounts, 64 disks and 64 interfaces.
pub const MAX_COLUMNS: usize = 4096;

/// One column: a metric of one labelled thing, with what is needed to read it in a later version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Which metric.
    pub metric: MetricId,
    /// Of what: core, mount point, device, interface; empty for the host.
    pub label: String,
    /// Unit of the quantity.
    pub unit: Unit,
    /// Counter or gauge.
    pub kind: Kind,
    /// Stored integer = quantity × scale.
    pub scale: u32,
}

impl Column {
    /// A column of a metric that this version knows; `None` for a number that it does not know.
    #[must_use]
    pub fn new(id: MetricId, label: impl Into<String>) -> Option<Self> {
        let metric = metric::by_id(id)?;
        Some(Self {
            metric: id,
            label: label.into(),
            unit: metric.unit,
            kind: metric.kind,
            scale: metric.scale,
        })
    }
}

/// The columns of a tick, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// At most [`MAX_COLUMNS`].
    pub columns: Vec<Column>,
}

/// A schema from a peer is not acceptable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// More than [`MAX_COLUMNS`] columns.
    #[error("schema has {0} columns, at most {MAX_COLUMNS} are allowed")]
    TooManyColumns(usize),
    /// A label is longer than [`MAX_TEXT`] bytes.
    #[error("label of column {0} is longer than {MAX_TEXT} bytes")]
    LabelTooLong(usize),
    /// A scale of zero.
    #[error("scale of column {0} is zero")]
    ZeroScale(usize),
}

impl Schema {
    /// The schema's content address.
    #[must_use]
    pub fn id(&self) -> SchemaId {
        // A struct of strings and integers cannot fail to encode; an empty encoding would only
        // merge schemas that nobody can build.
        let bytes = serde_cbor::ser::to_vec_packed(self).unwrap_or_default();
        let mut id = [0; 16];
        id.copy_from_slice(&sha256(&bytes)[..16]);
        SchemaId(id)
    }

    /// Checks what a peer sent.
    ///
    /// # Errors
    /// When a cap is exceeded or a scale is zero.
    pub fn validate(&self) -> Result<(), SchemaError> {
        if self.columns.len() > MAX_COLUMNS {
            return Err(SchemaError::TooManyColumns(self.columns.len()));
        }
        for (at, column) in self.columns.iter().enumerate() {
            if column.label.len() > MAX_TEXT {
                return Err(SchemaError::LabelTooLong(at));
            }
            if column.scale == 0 {
                return Err(SchemaError::ZeroScale(at));
            }
        }
        Ok(())
    }

    /// Position of the column of `metric` with `label`.
    #[must_use]
    pub fn position(&self, metric: MetricId, label: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.metric == metric && column.label == label)
    }
}
