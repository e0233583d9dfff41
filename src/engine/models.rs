//! Models: views of their versions, under statements of their own.

use std::sync::Arc;

use super::database::{Answer, Database, texts};
use crate::sql::error::SqlError;
use crate::sql::model::CreateModel;
use crate::sql::statement::parse_query;

impl Database {
    /// Creates a model, which is trained on what its SELECT has given so far, and from then on as it is told.
    pub(super) async fn create_model(&mut self, model: &CreateModel) -> Result<Answer, SqlError> {
        let (_, plan) = self.session.plan(parse_query(&model.query)?, &self.catalog(), 0).await?;
        let view = model.view(plan.schema().as_arrow())?;
        self.create_view(view).await?;
        Ok(Answer::Done("CREATE MODEL"))
    }

    /// Drops all of `names`, or none where one is no model or has readers.
    pub(super) fn drop_models(&mut self, names: &[String], if_exists: bool) -> Result<Answer, SqlError> {
        let is_model = |name: &str| self.engine.views().get(name).is_some_and(|view| view.model.is_some());
        let (models, others): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| is_model(name));
        if let Some(name) = others.into_iter().next().filter(|_| !if_exists) {
            return Err(SqlError::Missing { kind: "model", name, hint: String::new() });
        }
        self.drop_views(&models, false)?;
        Ok(Answer::Done("DROP MODEL"))
    }

    /// A row for each model: what it is trained on, and its newest version.
    pub(super) async fn show_models(&mut self) -> Result<Answer, SqlError> {
        let views = self.engine.views().iter();
        let models = views.filter_map(|(name, view)| Some((name.clone(), Arc::new(view.model.clone()?))));
        let mut rows = vec![];
        for (name, model) in models.collect::<Vec<_>>() {
            let query = format!(
                "SELECT count(*)::text, coalesce(max(valid_from)::text, ''), \
                 coalesce(last_value(row_count ORDER BY valid_from)::text, '') FROM \"{name}\""
            );
            let newest = self.text_row(&query).await?;
            let [versions, valid_from, row_count] = newest;
            let features = model.features.join(", ");
            rows.push([
                name,
                "isolation_forest".to_owned(),
                features,
                versions,
                valid_from,
                row_count,
                model.query.clone(),
            ]);
        }
        texts(["name", "algorithm", "features", "versions", "valid_from", "row_count", "definition"], rows)
    }

    /// The texts in the only row that `query` gives.
    async fn text_row<const N: usize>(&mut self, query: &str) -> Result<[String; N], SqlError> {
        use arrow::array::{Array, AsArray};
        let (_, batches) = self.reader().query(parse_query(query)?).await?;
        let row = batches.iter().find(|batch| batch.num_rows() > 0);
        Ok(std::array::from_fn(|column| {
            let texts = row.and_then(|batch| batch.columns().get(column)?.as_string_opt::<i32>());
            texts.filter(|texts| texts.is_valid(0)).map_or(String::new(), |texts| texts.value(0).to_owned())
        }))
    }
}
