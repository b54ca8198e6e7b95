//! What events and vouchers look like in requests and answers, for the description of the API.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::publish::voucher::fields::{FIELDS, Field, Holds, Need};

/// An event of CloudEvents 1.0 in its JSON form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "says what an event looks like")]
pub struct CloudEvent {
    /// `1.0`
    #[schema(pattern = "^1\\.0$")]
    specversion: String,
    /// Unique within its source: the same source and id are the same event.
    #[schema(min_length = 1)]
    id: String,
    /// Who says it: a URI reference such as `/settlement/prod`.
    #[schema(min_length = 1)]
    source: String,
    /// What happened, such as `contract.confirmed`.
    #[schema(rename = "type", min_length = 1)]
    kind: String,
    /// RFC 3339.
    time: Option<String>,
    subject: Option<String>,
    /// Events of one key keep their order.
    partitionkey: Option<String>,
    dataschema: Option<String>,
    /// The media type of `data`; `application/json` when it is absent.
    datacontenttype: Option<String>,
    /// The content; kept exactly as it is sent.
    data: Option<Value>,
}

/// A new voucher.
pub struct NewVoucher;

/// What of a voucher changes.
pub struct VoucherCorrection;

/// A voucher as it stands.
pub struct Voucher;

const EVENT: &str = "The type of the event that tells of it; `voucher.<source_module>.created`, `.corrected` or \
                     `.reversed` by default";

impl PartialSchema for NewVoucher {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
        for field in &FIELDS {
            object = object.property(field.name, property(field, field.need));
            if matches!(field.need, Need::Required | Need::Identity) {
                object = object.required(field.name);
            }
        }
        object.property("event", text(EVENT, true)).into()
    }
}

impl ToSchema for NewVoucher {
    fn name() -> Cow<'static, str> {
        "NewVoucher".into()
    }
}

impl PartialSchema for VoucherCorrection {
    fn schema() -> RefOr<Schema> {
        let version = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let version = version.description(Some("The version that was read"));
        let mut object = ObjectBuilder::new()
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .property("version", version);
        for field in FIELDS.iter().filter(|field| matches!(field.need, Need::Required | Need::Optional)) {
            object = object.property(field.name, property(field, field.need));
        }
        object.required("version").property("event", text(EVENT, true)).into()
    }
}

impl ToSchema for VoucherCorrection {
    fn name() -> Cow<'static, str> {
        "VoucherCorrection".into()
    }
}

impl PartialSchema for Voucher {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let mut object = ObjectBuilder::new()
            .property("voucher_no", text("Its number, by day and without gap", false))
            .property("version", number.description(Some("Raised by every change")));
        for field in &FIELDS {
            let is_amount = field.holds == Holds::Amount;
            let shown =
                if is_amount { text("Exact, as a text", false).into() } else { property(field, Need::Optional) };
            object = object.property(field.name, shown);
        }
        let sync = ObjectBuilder::new()
            .property(
                "state",
                text("`none`, `pending`, `failed` or `synced`: whether every target has this version", false),
            )
            .property(
                "targets",
                ObjectBuilder::new().description(Some("By target: `waiting`, `delivered` or `failed`")),
            );
        object
            .property("reason", text("Why it was reversed", true))
            .property("event", text("The type of the event of this version", false))
            .property("created_at", text("", false))
            .property("updated_at", text("", false))
            .property("sync", sync)
            .into()
    }
}

impl ToSchema for Voucher {
    fn name() -> Cow<'static, str> {
        "Voucher".into()
    }
}

fn text(about: &str, nullable: bool) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(types(&[Type::String], nullable)).description(Some(about))
}

fn types(types: &[Type], nullable: bool) -> SchemaType {
    let null = nullable.then_some(Type::Null);
    match (types, null) {
        ([one], None) => SchemaType::Type(one.clone()),
        (several, null) => SchemaType::Array(several.iter().cloned().chain(null).collect()),
    }
}

fn property(field: &Field, need: Need) -> RefOr<Schema> {
    let nullable = matches!(need, Need::Optional | Need::OptionalIdentity);
    let plain =
        |kinds: &[Type]| ObjectBuilder::new().schema_type(types(kinds, nullable)).description(Some(field.about));
    match field.holds {
        Holds::Text => plain(&[Type::String, Type::Integer]).into(),
        Holds::Word => plain(&[Type::String]).pattern(Some("^[A-Za-z0-9_.-]{1,64}$")).into(),
        Holds::Summary => plain(&[Type::String]).into(),
        Holds::Day => plain(&[Type::String]).format(Some(SchemaFormat::KnownFormat(KnownFormat::Date))).into(),
        Holds::Direction => plain(&[Type::String]).enum_values(Some(["debit", "credit"])).into(),
        Holds::Amount => plain(&[Type::String, Type::Number]).pattern(Some("^-?[0-9]{1,16}(\\.[0-9]{1,4})?$")).into(),
        Holds::Currency => plain(&[Type::String]).pattern(Some("^[A-Z]{3}$")).into(),
        Holds::Object => plain(&[Type::Object]).into(),
        Holds::Words | Holds::List => {
            let items = match field.holds {
                Holds::Words => text("", false).pattern(Some("^[A-Za-z0-9_.-]{1,64}$")),
                _ => ObjectBuilder::new().schema_type(SchemaType::AnyValue),
            };
            let list = ArrayBuilder::new().schema_type(types(&[Type::Array], nullable)).items(items);
            list.description(Some(field.about)).into()
        }
    }
}
