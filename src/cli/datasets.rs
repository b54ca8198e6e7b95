//! `tidegate datasets`: the catalogue, or one table of it in full.

use serde_json::json;

use super::context::{Context, print};
use super::list::List;
use crate::model::{Dataset, Result, Strategy};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate datasets
  tidegate datasets daily
  tidegate datasets --from-table erp.sales.contracts > catalog/contracts.toml
  tidegate datasets --strategies")]
pub struct Args {
    /// One table, with its columns
    dataset: Option<String>,
    /// A catalogue file for a table of a configured database, as the database declares it
    #[arg(long, value_name = "CONNECTION.TABLE", conflicts_with = "dataset")]
    from_table: Option<String>,
    /// The ways in which a table can be kept
    #[arg(long, conflicts_with = "dataset")]
    strategies: bool,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    if let Some(named) = &args.from_table {
        print(&super::databases::catalogue_file(context, named).await?)?;
        return Ok(0);
    }
    if args.strategies {
        return strategies(context);
    }
    if let Some(name) = args.dataset {
        let dataset = context.catalog.get(&name)?;
        if context.json {
            context.print_json(&as_json(dataset))?;
        } else {
            print(&crate::catalog::document::dataset(dataset))?;
        }
        return Ok(0);
    }
    if context.json {
        context.print_json(&context.catalog.datasets().iter().map(|dataset| as_json(dataset)).collect())?;
        return Ok(0);
    }
    let mut list = List::new(["table", "title", "标题", ">columns", ">points", "cut by", "kept"]);
    for dataset in context.catalog.datasets() {
        let (points, cuts) = match &dataset.tushare {
            Some(tushare) => (tushare.points.to_string(), cut_names(dataset).join(", ")),
            None => Default::default(),
        };
        list.push([
            dataset.name.clone(),
            dataset.title.clone(),
            dataset.title_zh.clone(),
            dataset.columns.len().to_string(),
            points,
            cuts,
            dataset.policy.schedule.clone(),
        ]);
    }
    print(&list.render())?;
    Ok(0)
}

fn strategies(context: &Context) -> Result<u8> {
    let kept_by = |strategy: Strategy| {
        let kept = context.catalog.datasets().iter().filter(move |dataset| dataset.policy.strategy == strategy);
        kept.map(|dataset| dataset.name.clone()).collect::<Vec<_>>()
    };
    if context.json {
        let one = |strategy: Strategy| json!({ "name": strategy.name(), "about": strategy.about(), "datasets": kept_by(strategy) });
        context.print_json(&Strategy::ALL.map(one).into_iter().collect())?;
        return Ok(0);
    }
    let mut list = List::new(["strategy", "what it does", "tables"]);
    for strategy in Strategy::ALL {
        let tables = match strategy {
            Strategy::FewestCalls => "all others".to_string(),
            _ => kept_by(strategy).join(", "),
        };
        list.push([strategy.name().to_string(), strategy.about().to_string(), tables]);
    }
    print(&list.render())?;
    Ok(0)
}

fn cut_names(dataset: &Dataset) -> Vec<&'static str> {
    dataset.tushare.iter().flat_map(|tushare| &tushare.cuts).map(|cut| cut.name()).collect()
}

fn as_json(dataset: &Dataset) -> serde_json::Value {
    let column = |column: &crate::model::Column| {
        json!({
            "name": column.name, "type": column.kind, "unit": column.unit, "nullable": column.nullable,
            "meaning": column.meaning, "meaning_zh": column.meaning_zh,
        })
    };
    json!({
        "name": dataset.name, "title": dataset.title, "title_zh": dataset.title_zh, "about": dataset.about,
        "key": dataset.key, "time": dataset.time, "security": dataset.security, "shape": dataset.shape,
        "cuts": cut_names(dataset), "policy": dataset.policy,
        "columns": dataset.columns.iter().map(column).collect::<Vec<_>>(),
    })
}
