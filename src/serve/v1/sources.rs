//! The sources: who comes first, whose token is set, what is left of the quotas, how they have behaved.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::engine::doors::{Seen, Token};
use crate::engine::standing::Standing;
use crate::serve::Service;
use crate::serve::problem::Problem;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(sources))
}

/// A source as it stands, as far as is known without asking it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
struct SourceItem {
    name: String,
    /// 1 is best.
    rank: u8,
    enabled: bool,
    /// Whether it may be asked.
    open: bool,
    /// Why not.
    why_not: Option<String>,
    description: &'static str,
    /// `null`: it needs none.
    token: Option<TokenItem>,
    /// Tables that it serves.
    datasets: usize,
    /// APIs with a limit by day, the one with the fewest calls left first.
    quota: Vec<QuotaItem>,
    health: HealthItem,
    /// `good`, or why it is asked after the others.
    standing: String,
}

/// Whether the token is there. Never the token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceToken)]
struct TokenItem {
    needed: bool,
    set: bool,
    /// Where it came from.
    from: Option<String>,
}

/// The day's calls of one API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceQuota)]
struct QuotaItem {
    api: String,
    used: u64,
    per_day: u64,
    left: u64,
}

/// The last 24 hours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceHealth)]
struct HealthItem {
    calls: u64,
    failed: u64,
    latency_ms: Option<u64>,
    last_error: Option<String>,
    last_error_at: Option<String>,
}

impl From<Seen> for SourceItem {
    fn from(seen: Seen) -> SourceItem {
        let why_not = seen.closed();
        let quota = seen.quotas.iter().map(|quota| QuotaItem {
            api: quota.api.clone(),
            used: quota.used,
            per_day: quota.per_day,
            left: quota.left(),
        });
        SourceItem {
            open: why_not.is_none(),
            why_not,
            rank: seen.configured.rank,
            enabled: seen.configured.enabled,
            description: seen.configured.about,
            token: match &seen.configured.token {
                Token::NotNeeded => None,
                Token::NotSet => Some(TokenItem { needed: true, set: false, from: None }),
                Token::From(origin) => Some(TokenItem { needed: true, set: true, from: Some(origin.clone()) }),
            },
            datasets: seen.datasets,
            quota: quota.collect(),
            health: HealthItem {
                calls: seen.day.calls,
                failed: seen.day.failed,
                latency_ms: seen.day.latency_ms(),
                last_error: seen.day.last_error.clone(),
                last_error_at: seen.day.last_error_at.map(|at| at.to_string()),
            },
            standing: match &seen.standing {
                Standing::Good => "good".to_string(),
                Standing::Demoted(why) => why.clone(),
            },
            name: seen.configured.name,
        }
    }
}

/// Every source that can be configured, best first.
#[utoipa::path(get, path = "/api/v1/sources", tag = "sources", responses((status = 200, body = Page<SourceItem>)))]
async fn sources(State(service): State<Service>) -> Result<Json<Page<SourceItem>>, Problem> {
    let engine = service.engines.current().await?;
    let seen = engine.doors(&service.sources).await?;
    Ok(Json(Page::whole(seen.into_iter().map(SourceItem::from).collect())))
}
