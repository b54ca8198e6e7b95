//! How one Tidegate asks another about a dataset: the words of `POST /api/v1/digests`, in both directions.

use serde::{Deserialize, Serialize};

use crate::model::compared::{Found, Shape, SideRow, key_part, part_text};
use crate::model::{Digest, Error, Key, KeyRange, Result};
use crate::source::sides::Side;

/// Values of a key, as canonical texts.
pub type KeyText = Vec<String>;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The columns of the dataset; nothing else is needed.
    Columns,
    /// The digest of each part into which `bounds` part the range.
    Digests,
    /// Keys `step` rows apart.
    Split,
    /// The rows of the range, at most `limit` and one more.
    Rows,
    /// The rows with `keys`.
    Look,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub dataset: String,
    pub what: What,
    #[serde(default)]
    pub shape: Option<Shape>,
    #[serde(default)]
    pub after: Option<KeyText>,
    #[serde(default)]
    pub upto: Option<KeyText>,
    #[serde(default)]
    pub bounds: Vec<KeyText>,
    #[serde(default)]
    pub keys: Vec<KeyText>,
    #[serde(default)]
    pub step: u64,
    #[serde(default)]
    pub limit: u64,
}

/// Count and sum of hashes; the sum as text, because JSON's numbers end earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestText {
    pub rows: u64,
    pub sum: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    pub columns: Vec<Found>,
    pub digests: Vec<DigestText>,
    pub keys: Vec<KeyText>,
    pub rows: Vec<SideRow>,
}

/// The canonical texts of a key.
pub fn texts(key: &Key) -> KeyText {
    key.iter().map(part_text).collect()
}

/// Reads a key; `Invalid` for one that does not fit the shape.
pub fn key(shape: &Shape, texts: &KeyText) -> Result<Key> {
    let fits = texts.len() == shape.key && shape.key <= shape.columns.len();
    let parts = shape.columns.iter().zip(texts).map(|(column, text)| key_part(column.kind, text));
    let key = parts.collect::<Option<Key>>().filter(|_| fits);
    key.ok_or_else(|| Error::invalid("a key does not fit the columns").hint("send as many values as the key has"))
}

/// Answers from a side; never more than `rows_max` rows.
pub async fn answer(side: &dyn Side, ask: &Ask, rows_max: u64) -> Result<Answer> {
    if ask.what == What::Columns {
        return Ok(Answer { columns: side.columns().await?, ..Answer::default() });
    }
    let shape = ask.shape.as_ref().filter(|shape| {
        let only = shape.only.as_ref().is_none_or(|only| only.column < shape.columns.len());
        (1..=shape.columns.len()).contains(&shape.key) && only
    });
    let shape = shape.ok_or_else(|| {
        Error::invalid("the question says nothing of columns that fit").hint("send `shape` with columns and key")
    })?;
    let bound = |texts: &Option<KeyText>| texts.as_ref().map(|texts| key(shape, texts)).transpose();
    let range = KeyRange { after: bound(&ask.after)?, upto: bound(&ask.upto)? };
    let keys = |texts: &[KeyText]| texts.iter().map(|texts| key(shape, texts)).collect::<Result<Vec<Key>>>();
    let mut answer = Answer::default();
    match ask.what {
        What::Columns => {}
        What::Digests => {
            let digests = side.digests(shape, &range, &keys(&ask.bounds)?).await?;
            answer.digests = digests.iter().map(|it| DigestText { rows: it.rows, sum: it.sum.to_string() }).collect();
        }
        What::Split => {
            let found = side.split(shape, &range, ask.step).await?;
            answer.keys = found.iter().map(texts).collect();
        }
        What::Rows => answer.rows = side.rows(shape, &range, ask.limit.min(rows_max)).await?,
        What::Look => answer.rows = side.look(shape, &keys(&ask.keys)?).await?,
    }
    let most = answer.rows.len().max(answer.keys.len()) as u64;
    match most > rows_max + 1 {
        true => Err(Error::invalid(format!("the answer would have more than {rows_max} entries"))
            .hint("ask for smaller ranges")),
        false => Ok(answer),
    }
}

impl DigestText {
    pub fn digest(&self) -> Result<Digest> {
        let sum = self.sum.parse().map_err(|_| Error::transient("the other Tidegate's digest is no number"))?;
        Ok(Digest { rows: self.rows, sum })
    }
}
