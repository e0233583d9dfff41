//! The patterns of log lines.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListBuilder, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    ColumnarValue, PartitionEvaluator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
    WindowUDFImpl,
};

use crate::detect::log_template;

/// What is asked of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Question {
    /// `log_template(message)`: the message with `<*>` for what is variable by its form.
    Template,
    /// `log_parameters(message)`: what `<*>` stands for, in order.
    Parameters,
    /// `log_merge_key(template)`: templates with different keys are never of one pattern.
    MergeKey,
}

/// A scalar function of a text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TextFunction {
    question: Question,
    signature: Signature,
}

impl TextFunction {
    /// All of them.
    pub fn all() -> [TextFunction; 3] {
        [Question::Template, Question::Parameters, Question::MergeKey].map(|question| TextFunction {
            question,
            signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
        })
    }
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        match self.question {
            Question::Template => "log_template",
            Question::Parameters => "log_parameters",
            Question::MergeKey => "log_merge_key",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.question {
            Question::Template => DataType::Utf8,
            Question::MergeKey => DataType::Int64,
            Question::Parameters => DataType::new_list(DataType::Utf8, true),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let [texts] = args.args.as_slice() else { return exec_err!("{} takes one text", self.name()) };
        let texts = cast(&texts.to_array(args.number_rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let array: ArrayRef = match self.question {
            Question::Template => {
                let mut builder = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
                let mut template = String::new();
                for text in texts {
                    template.clear();
                    text.inspect(|text| log_template::template_into(text, &mut template));
                    builder.append_option(text.map(|_| &template));
                }
                Arc::new(builder.finish())
            }
            Question::MergeKey => {
                // A hash: as good with a sign.
                let keys =
                    texts.iter().map(|text| text.map(|text| log_template::merge_key(text).cast_signed()));
                Arc::new(keys.collect::<Int64Array>())
            }
            Question::Parameters => {
                let mut builder = ListBuilder::new(StringBuilder::new());
                for text in texts {
                    text.inspect(|text| {
                        log_template::parameters(text).iter().for_each(|p| builder.values().append_value(p));
                    });
                    builder.append(text.is_some());
                }
                Arc::new(builder.finish())
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// `log_pattern(template) OVER (PARTITION BY ..., log_merge_key(template))`: the pattern of a template among those of its
/// partition: with `<*>` also for words that act as variables. It does not depend on the order of rows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LogPattern {
    signature: Signature,
}

impl Default for LogPattern {
    fn default() -> Self {
        LogPattern { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl WindowUDFImpl for LogPattern {
    fn name(&self) -> &str {
        "log_pattern"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match types {
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null] => {
                Ok(vec![DataType::Utf8])
            }
            _ => plan_err!("log_pattern: a template is expected"),
        }
    }

    fn field(&self, args: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Utf8, true)))
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Patterns))
    }
}

#[derive(Debug)]
struct Patterns;

impl PartitionEvaluator for Patterns {
    fn evaluate_all(&mut self, values: &[ArrayRef], _rows: usize) -> DataFusionResult<ArrayRef> {
        let templates = values[0].as_string::<i32>();
        let group: Vec<&str> = templates.iter().flatten().collect();
        let mut patterns = log_template::merge_group(&group).into_iter();
        let mut builder = StringBuilder::new();
        for row in 0..templates.len() {
            builder.append_option(if templates.is_valid(row) { patterns.next() } else { None });
        }
        Ok(Arc::new(builder.finish()))
    }
}
