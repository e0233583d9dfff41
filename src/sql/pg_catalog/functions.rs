//! Functions of PostgreSQL that clients call and that `datafusion-pg-catalog` does not have, or answers
//! without knowing the client.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::exec_err;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;

use super::listing::Listing;
use super::{Client, DATABASE, VERSION};

type Body = dyn Fn(&[ArrayRef], usize) -> DataFusionResult<ArrayRef> + Send + Sync;

/// A function of any arguments: the columns, and how many rows there are.
struct Function {
    name: &'static str,
    returns: DataType,
    signature: Signature,
    body: Arc<Body>,
}

impl Function {
    fn made(
        name: &'static str,
        returns: DataType,
        body: impl Fn(&[ArrayRef], usize) -> DataFusionResult<ArrayRef> + Send + Sync + 'static,
    ) -> ScalarUDF {
        let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        let signature = Signature::new(any, Volatility::Stable);
        ScalarUDF::from(Function { name, returns, signature, body: Arc::new(body) })
    }

    /// One that says the same text of everything.
    fn text(name: &'static str, text: &str) -> ScalarUDF {
        let text = text.to_owned();
        Function::made(name, DataType::Utf8, move |_, rows| {
            Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&text, rows))))
        })
    }

    /// One that has nothing to say.
    fn null(name: &'static str, returns: DataType) -> ScalarUDF {
        Function::made(name, returns.clone(), move |_, rows| Ok(new_null_array(&returns, rows)))
    }

    /// One that answers with yes or no.
    fn switch(name: &'static str, value: bool) -> ScalarUDF {
        Function::made(name, DataType::Boolean, move |_, rows| {
            Ok(Arc::new(BooleanArray::from(vec![value; rows])))
        })
    }

    /// One that says the same number of everything.
    fn number(name: &'static str, value: i64) -> ScalarUDF {
        Function::made(name, DataType::Int64, move |_, rows| {
            Ok(Arc::new(Int64Array::from(vec![value; rows])))
        })
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns: Vec<ArrayRef> = arguments
            .args
            .into_iter()
            .map(|value| value.into_array(rows))
            .collect::<DataFusionResult<_>>()?;
        (self.body)(&columns, rows).map(ColumnarValue::Array)
    }
}

/// Registers the functions that answer everybody alike.
pub(super) fn register(context: &SessionContext) {
    let microseconds = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let started = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).timestamp_micros();
    let functions = [
        Function::text("version", VERSION),
        Function::text("pg_get_userbyid", DATABASE),
        Function::null("obj_description", DataType::Utf8),
        Function::null("col_description", DataType::Utf8),
        Function::null("shobj_description", DataType::Utf8),
        Function::made("pg_get_expr", DataType::Utf8, |columns, rows| {
            each_text(columns, rows, |text| Some(text.to_owned()))
        }),
        Function::null("pg_get_ruledef", DataType::Utf8),
        Function::null("pg_get_triggerdef", DataType::Utf8),
        Function::null("pg_get_serial_sequence", DataType::Utf8),
        Function::null("pg_get_function_arguments", DataType::Utf8),
        Function::null("pg_get_function_identity_arguments", DataType::Utf8),
        Function::null("pg_get_function_result", DataType::Utf8),
        Function::null("pg_get_functiondef", DataType::Utf8),
        Function::null("pg_tablespace_location", DataType::Utf8),
        Function::null("inet_client_addr", DataType::Utf8),
        Function::null("inet_server_addr", DataType::Utf8),
        Function::null("inet_server_port", DataType::Int32),
        Function::switch("pg_is_in_recovery", false),
        Function::switch("pg_is_other_temp_schema", false),
        Function::switch("pg_type_is_visible", true),
        Function::switch("pg_function_is_visible", true),
        Function::switch("pg_operator_is_visible", true),
        Function::switch("pg_opclass_is_visible", true),
        Function::switch("pg_collation_is_visible", true),
        Function::switch("pg_ts_config_is_visible", true),
        Function::switch("has_column_privilege", true),
        Function::switch("has_function_privilege", true),
        Function::switch("pg_has_role", true),
        Function::number("txid_current", 1),
        Function::made("age", DataType::Int64, |arguments, rows| match arguments {
            [transaction] if transaction.data_type().is_integer() => {
                Ok(Arc::new(Int64Array::from(vec![0; rows])))
            }
            _ => Err(DataFusionError::Plan("age() of times is not supported; subtract them".to_owned())),
        }),
        Function::number("pg_database_size", 0),
        Function::number("pg_table_size", 0),
        Function::number("pg_indexes_size", 0),
        Function::number("pg_my_temp_schema", 0),
        Function::made("pg_postmaster_start_time", microseconds, move |_, rows| {
            Ok(Arc::new(TimestampMicrosecondArray::from(vec![started; rows]).with_timezone("+00:00")))
        }),
        Function::made("pg_size_pretty", DataType::Utf8, pg_size_pretty),
        Function::made("quote_literal", DataType::Utf8, |columns, rows| {
            each_text(columns, rows, |text| Some(format!("'{}'", text.replace('\'', "''"))))
        }),
    ];
    functions.into_iter().for_each(|function| context.register_udf(function));
}

/// Registers the functions that answer by who asks, and by what there is.
pub(super) fn register_client(
    state: &mut SessionState,
    listing: &Arc<Listing>,
    client: &Arc<Client>,
) -> DataFusionResult<()> {
    let _ = listing;
    let (own, set) = (client.clone(), client.clone());
    let process_id = client.process_id;
    for function in [
        Function::text("session_user", &client.user),
        Function::made("current_setting", DataType::Utf8, move |columns, rows| {
            current_setting(&own, columns, rows)
        }),
        Function::made("set_config", DataType::Utf8, move |columns, rows| {
            let _ = &set;
            match columns.get(1) {
                Some(values) => Ok(cast(values, &DataType::Utf8)?),
                None => Ok(new_null_array(&DataType::Utf8, rows)),
            }
        }),
        Function::made("pg_backend_pid", DataType::Int32, move |_, rows| {
            Ok(Arc::new(Int32Array::from(vec![process_id; rows])))
        }),
    ] {
        state.register_udf(Arc::new(function))?;
    }
    Ok(())
}

/// `f` of each text of the first column.
fn each_text(
    columns: &[ArrayRef],
    rows: usize,
    f: impl Fn(&str) -> Option<String>,
) -> DataFusionResult<ArrayRef> {
    let Some(texts) = columns.first() else { return Ok(new_null_array(&DataType::Utf8, rows)) };
    let texts = cast(texts, &DataType::Utf8)?;
    Ok(Arc::new(StringArray::from_iter(texts.as_string::<i32>().iter().map(|text| text.and_then(&f)))))
}

/// The setting called by the first column; an error, or null where the second column says so, if there is none.
fn current_setting(client: &Client, columns: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
    let lenient = columns.get(1).is_some_and(|second| {
        second.as_boolean_opt().is_some_and(|second| second.iter().all(|value| value == Some(true)))
    });
    let find = |name: &str| {
        client.settings.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    if !lenient && let Some(names) = columns.first() {
        let names = cast(names, &DataType::Utf8)?;
        for name in names.as_string::<i32>().iter().flatten() {
            if find(name).is_none() {
                return exec_err!("unrecognized configuration parameter \"{name}\"");
            }
        }
    }
    each_text(columns, rows, find)
}

fn pg_size_pretty(columns: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
    let pretty = |bytes: i64| {
        let units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
        let mut size = bytes;
        let mut unit = 0;
        while size.abs() >= 10 * 1024 && unit + 1 < units.len() {
            size /= 1024;
            unit += 1;
        }
        format!("{size} {}", units[unit])
    };
    each_text(columns, rows, |text| text.parse::<f64>().ok().map(|bytes| pretty(bytes as i64)))
}
