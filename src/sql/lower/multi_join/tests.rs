//! What is folded, and what stays.

use arrow::datatypes::DataType;
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::expressions::BinaryExpr;
use expect_test::expect;

use super::*;

/// The relations `a`, `b` and so on, each with two keys and a value.
fn sources(relations: &[&str]) -> Plan {
    let mut plan = Plan::default();
    for relation in relations {
        let names = ["k", "l", "v"].map(|name| format!("{relation}.{name}"));
        let fields = names.map(|name| Field::new(name, DataType::Int64, true));
        let source = Node::Source { relation: (*relation).to_owned(), columns: vec![0, 1, 2] };
        plan.push(source, Arc::new(Schema::new(fields.to_vec())));
    }
    plan
}

/// Adds the inner join of `sides` by their columns `keys`, changed by `change`.
fn join(
    plan: &mut Plan,
    sides: [NodeId; 2],
    keys: [&[usize]; 2],
    change: impl FnOnce(&mut JoinSpec),
) -> NodeId {
    let inputs = sides.map(|side| plan.schemas[side].clone());
    let fields = inputs.iter().flat_map(|schema| schema.fields().iter().cloned());
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut spec = JoinSpec {
        keys: keys.map(<[usize]>::to_vec),
        null_equals_null: false,
        condition: None,
        pairs: true,
        unpaired: [Unpaired::Dropped; 2],
        inputs,
        schema: schema.clone(),
        retracts: [false; 2],
        horizon_ms: None,
    };
    change(&mut spec);
    plan.push(Node::Join { left: sides[0], right: sides[1], spec }, schema)
}

/// Whether one column is less than another.
fn less(left: usize, right: usize) -> Arc<dyn PhysicalExpr> {
    let column = |index| Arc::new(Column::new("c", index));
    Arc::new(BinaryExpr::new(column(left), Op::Lt, column(right)))
}

/// Adds the columns `picked` of `input`.
fn pick(
    plan: &mut Plan,
    input: NodeId,
    picked: &[usize],
    predicate: Option<Arc<dyn PhysicalExpr>>,
) -> NodeId {
    let from = plan.schemas[input].clone();
    let schema = Arc::new(from.project(picked).unwrap());
    let projection = Some(picked.iter().map(|place| super::super::column(&from, *place)).collect());
    plan.push(Node::Map { input, map: RowMap { predicate, projection, schema: schema.clone() } }, schema)
}

#[test]
fn a_chain_is_one_join_even_where_columns_are_picked_in_between() {
    let mut plan = sources(&["a", "b", "c"]);
    let pairs = join(&mut plan, [0, 1], [&[0, 1], &[1, 0]], |spec| spec.retracts = [true, false]);
    let picked = pick(&mut plan, pairs, &[5, 3, 1, 4], None);
    // b.k = c.k and b.l = c.l, in the other order.
    join(&mut plan, [picked, 2], [&[1, 3], &[0, 1]], |spec| spec.condition = Some(less(0, 6)));
    expect![[r#"
        #4 Map [b.v@5, b.k@3, a.l@1, b.l@4, c.k@6, c.l@7, c.v@8]
          #3 Join inner inputs=3 on=[a.l = b.k = c.k, a.k = b.l = c.l] condition=b.v@5 < c.v@8 state=(rows of all inputs) bound=(grows with the input) retractions=from #0
            #0 Source a [a.k, a.l, a.v]
            #1 Source b [b.k, b.l, b.v]
            #2 Source c [c.k, c.l, c.v]
    "#]].assert_eq(&fold_joins(plan).to_string());
}

#[test]
fn the_side_with_conditions_leads() {
    let conditional = |spec: &mut JoinSpec| spec.condition = Some(less(2, 5));
    let mut plan = sources(&["a", "b", "c"]);
    let pairs = join(&mut plan, [1, 2], [&[0], &[0]], conditional);
    join(&mut plan, [0, pairs], [&[0], &[3]], |spec| spec.condition = Some(less(2, 8)));
    expect![[r#"
        #4 Map [a.k@6, a.l@7, a.v@8, b.k@0, b.l@1, b.v@2, c.k@3, c.l@4, c.v@5]
          #3 Join inner inputs=3 on=[b.k = c.k = a.k] condition=b.v@2 < c.v@5 AND a.v@8 < c.v@5 state=(rows of all inputs) bound=(grows with the input) retractions=none
            #1 Source b [b.k, b.l, b.v]
            #2 Source c [c.k, c.l, c.v]
            #0 Source a [a.k, a.l, a.v]
    "#]].assert_eq(&fold_joins(plan).to_string());
    // Of two, the left one.
    let mut plan = sources(&["a", "b", "c", "d"]);
    let left = join(&mut plan, [0, 1], [&[0], &[0]], conditional);
    let right = join(&mut plan, [2, 3], [&[0], &[0]], conditional);
    join(&mut plan, [left, right], [&[0], &[0]], |_| {});
    expect![[r#"
        #5 Join inner inputs=3 on=[a.k = b.k = c.k] condition=a.v@2 < b.v@5 state=(rows of all inputs) bound=(grows with the input) retractions=none
          #0 Source a [a.k, a.l, a.v]
          #1 Source b [b.k, b.l, b.v]
          #4 Join inner on=[c.k = d.k] condition=c@2 < c@5 state=(rows of both sides) bound=(grows with the input) retractions=none
            #2 Source c [c.k, c.l, c.v]
            #3 Source d [d.k, d.l, d.v]
    "#]].assert_eq(&fold_joins(plan).to_string());
}

#[test]
fn what_is_no_chain_stays() {
    type Keys = [&'static [usize]; 2];
    type Change = fn(&mut JoinSpec);
    let outer: Change = |spec| spec.unpaired[0] = Unpaired::Padded;
    let one: Keys = [&[0], &[0]];
    let cases: [(Keys, Keys, Change); 6] = [
        (one, one, |spec| spec.null_equals_null = true),
        (one, one, |spec| spec.horizon_ms = Some(1)),
        (one, one, outer),
        // Another key, a part of it, and more.
        (one, [&[1], &[0]], |_| {}),
        ([&[0, 1], &[0, 1]], one, |_| {}),
        (one, [&[0, 1], &[0, 1]], |_| {}),
    ];
    for (first, second, change) in cases {
        let mut plan = sources(&["a", "b", "c"]);
        let pairs = join(&mut plan, [0, 1], first, change);
        join(&mut plan, [pairs, 2], second, |_| {});
        let before = plan.to_string();
        assert_eq!(fold_joins(plan).to_string(), before);
    }
    let mut is_read_twice = sources(&["a", "b"]);
    let pairs = join(&mut is_read_twice, [0, 1], one, |_| {});
    join(&mut is_read_twice, [pairs, pairs], one, |_| {});
    let mut is_filtered = sources(&["a", "b", "c"]);
    let pairs = join(&mut is_filtered, [0, 1], one, |_| {});
    let filtered = pick(&mut is_filtered, pairs, &[0, 1, 2], Some(less(2, 5)));
    join(&mut is_filtered, [filtered, 2], one, |_| {});
    let mut has_no_key = sources(&["a", "b", "c"]);
    let pairs = join(&mut has_no_key, [0, 1], [&[], &[]], |_| {});
    join(&mut has_no_key, [pairs, 2], [&[], &[]], |_| {});
    for plan in [is_read_twice, is_filtered, has_no_key] {
        let before = plan.to_string();
        assert_eq!(fold_joins(plan).to_string(), before);
    }
}
