//! A collection with every multiplicity of the opposite sign.

use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use super::collection::{Collection, Edge};
use super::operator::Time;
use super::updates::Updates;

/// Each row of `input` with its multiplicity negated; errors stay as they are, for a difference with
/// an error in either part has no answer. Keeps no state.
pub fn negate<'scope, T: Time>(input: Collection<'scope, T>) -> Collection<'scope, T> {
    let rows: Edge<'scope, T> =
        input.rows.unary::<NoopBuilder<Updates>, _, _, _>(Pipeline, "Negate", |_, _| {
            move |input, output| {
                input.for_each(|capability, updates| {
                    let mut negated = std::mem::take(updates).negate();
                    output.session_with_builder(&capability).give_container(&mut negated);
                });
            }
        });
    Collection { rows, errors: input.errors }
}
