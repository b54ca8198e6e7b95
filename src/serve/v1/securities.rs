//! Finding a security by its code, its name or the initials of its name in pinyin.

use arrow_array::cast::AsArray;
use arrow_array::types::Date32Type;
use arrow_array::{Array, RecordBatch};
use axum::Json;
use axum::extract::State;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::model::{Day, Query, Result};
use crate::serve::Service;
use crate::serve::cache::MadeFrom;
use crate::serve::extract::Params;
use crate::serve::problem::Problem;
use crate::store::Scan;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(securities))
}

/// A security.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Security)]
pub struct Entry {
    pub code: String,
    pub name: String,
    pub industry: Option<String>,
    /// Initials of the name.
    pub pinyin: Option<String>,
    pub list_date: Option<String>,
    pub delist_date: Option<String>,
}

/// Which securities.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SecuritiesParams {
    /// A part of a code, a name or initials; all securities without it
    #[serde(default)]
    q: String,
    #[param(minimum = 1)]
    limit: Option<usize>,
}

impl Entry {
    /// How well it answers, the smaller the better; `None`: not at all. `asked` is in capitals.
    fn rank(&self, asked: &str) -> Option<u8> {
        let pinyin = self.pinyin.as_deref().unwrap_or_default().to_uppercase();
        let name = self.name.to_uppercase();
        let digits = self.code.split('.').next().unwrap_or_default();
        match () {
            () if self.code == asked || digits == asked => Some(0),
            () if name == asked => Some(1),
            () if pinyin == asked => Some(2),
            () if self.code.starts_with(asked) => Some(3),
            () if name.starts_with(asked) => Some(4),
            () if pinyin.starts_with(asked) => Some(5),
            () if name.contains(asked) => Some(6),
            () if pinyin.contains(asked) => Some(7),
            () if self.code.contains(asked) => Some(8),
            () => None,
        }
    }
}

/// The best matches first; those that still trade before those that do not.
fn found(all: &[Entry], asked: &str, limit: usize) -> Vec<Entry> {
    let asked = asked.trim().to_uppercase();
    let mut ranked: Vec<(u8, bool, &Entry)> =
        all.iter().filter_map(|entry| Some((entry.rank(&asked)?, entry.delist_date.is_some(), entry))).collect();
    ranked.sort_by_key(|(rank, gone, entry)| (*rank, *gone, entry.code.as_str()));
    ranked.into_iter().take(limit).map(|(_, _, entry)| entry.clone()).collect()
}

/// Securities by code, name or pinyin initials, best match first.
#[utoipa::path(get, path = "/api/v1/securities", tag = "data", params(SecuritiesParams), responses(
    (status = 200, body = Page<Entry>)))]
async fn securities(
    State(service): State<Service>,
    Params(params): Params<SecuritiesParams>,
) -> Result<Json<Page<Entry>>, Problem> {
    let limit = service.options.limit(params.limit)?;
    let from = MadeFrom::table("stock_basic");
    let all = service.memory.securities.get(&service.cache.fresh, &from, || read(&service)).await?;
    Ok(Json(Page::whole(found(&all, &params.q, limit))))
}

async fn read(service: &Service) -> Result<Vec<Entry>> {
    let columns = ["ts_code", "name", "industry", "cnspell", "list_date", "delist_date"];
    let query = Query { columns: columns.map(str::to_string).to_vec(), ..Query::all("stock_basic") };
    let batches: Vec<RecordBatch> = service.reader.scan(&query).await?.try_collect().await?;
    let mut all = Vec::new();
    for batch in &batches {
        let text = |column: usize, row: usize| {
            let cells = batch.column(column).as_string::<i32>();
            cells.is_valid(row).then(|| cells.value(row).to_string()).filter(|text| !text.is_empty())
        };
        let day = |column: usize, row: usize| {
            let cells = batch.column(column).as_primitive::<Date32Type>();
            cells.is_valid(row).then(|| Day(cells.value(row)).to_string())
        };
        all.extend((0..batch.num_rows()).map(|row| Entry {
            code: text(0, row).unwrap_or_default(),
            name: text(1, row).unwrap_or_default(),
            industry: text(2, row),
            pinyin: text(3, row),
            list_date: day(4, row),
            delist_date: day(5, row),
        }));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_match_comes_first() {
        let entry = |code: &str, name: &str, pinyin: &str, gone: bool| Entry {
            code: code.to_string(),
            name: name.to_string(),
            industry: None,
            pinyin: Some(pinyin.to_string()),
            list_date: None,
            delist_date: gone.then(|| "2020-01-01".to_string()),
        };
        let all = [
            entry("000001.SZ", "平安银行", "payh", false),
            entry("600519.SH", "贵州茅台", "gzmt", false),
            entry("601318.SH", "中国平安", "zgpa", false),
            entry("600001.SH", "平安旧司", "pajs", true),
        ];
        for (asked, expected) in [
            ("600519", vec!["600519.SH"]),
            ("600519.sh", vec!["600519.SH"]),
            ("gzm", vec!["600519.SH"]),
            ("PA", vec!["000001.SZ", "600001.SH", "601318.SH"]),
            ("平安", vec!["000001.SZ", "600001.SH", "601318.SH"]),
            ("0001", vec!["000001.SZ", "600001.SH"]),
            ("' or 1=1 --", vec![]),
        ] {
            let codes: Vec<String> = found(&all, asked, 9).into_iter().map(|entry| entry.code).collect();
            assert_eq!(codes, expected, "{asked}");
        }
    }
}
