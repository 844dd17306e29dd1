//! The operations that every repository is built on: find by id, put, put if absent, delete,
//! transact; and how their errors are read.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        query::{QueryOutput, builders::QueryFluentBuilder},
        transact_write_items::TransactWriteItemsError,
    },
    types::{CancellationReason, ReturnValue, TransactWriteItem},
};
use backon::{ExponentialBuilder, Retryable};
use bematic::{error::StoreError, ports::Created};

use super::{
    expression::Expression,
    item::{Item, Record, attributes, item, key_item, read, text},
    keys::Key,
};

/// A table, and the client that reads and writes it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) client: Client,
    pub(super) name: String,
}

impl Table {
    pub(super) const fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Returns the record with this id, read consistently.
    pub(super) async fn find<R: Record>(&self, id: &R::Id) -> Result<Option<R>, StoreError> {
        let key = R::key(id);
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key_item(&key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("GetItem", error))?;
        answer.item.map(|item| read(item, &key)).transpose()
    }

    /// Puts the record unless one with this id exists.
    pub(super) async fn put_if_absent<R: Record>(
        &self,
        id: &R::Id,
        record: &R,
        index: Item,
    ) -> Result<Created<R>, StoreError> {
        let key = R::key(id);
        let item = item(&key, record, index)?;
        match self.put_when(item, Expression::absent()).await {
            Ok(()) => Ok(Created::New),
            Err(Refusal::Condition(old)) => Ok(Created::Existing(read(old, &key)?)),
            Err(Refusal::Error(error)) => Err(error),
        }
    }

    /// Puts the record, and replaces one with the same id.
    pub(super) async fn put<R: Record>(
        &self,
        id: &R::Id,
        record: &R,
        index: Item,
    ) -> Result<(), StoreError> {
        self.put_item(item(&R::key(id), record, index)?).await
    }

    /// Puts an item, and replaces one with the same key.
    pub(super) async fn put_item(&self, item: Item) -> Result<(), StoreError> {
        let put = self.put_when(item, Expression::always()).await;
        put.map_err(Refusal::into_error)
    }

    /// Deletes an item, and returns it if it existed.
    pub(super) async fn remove(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let deleted = self.delete(key, Expression::always()).await;
        deleted.map_err(Refusal::into_error)
    }

    /// Puts an item if the condition of `when` holds.
    pub(super) async fn put_when(&self, item: Item, when: Expression) -> Result<(), Refusal> {
        let parts = when.condition();
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .set_condition_expression(parts.condition)
            .set_expression_attribute_names(parts.names)
            .set_expression_attribute_values(parts.values)
            .set_return_values_on_condition_check_failure(parts.on_failure);
        retry(|| put.clone().send(), "PutItem").await.map(drop)
    }

    /// Updates an item, and returns the attributes that `returned` asks for.
    pub(super) async fn update(
        &self,
        key: &Key,
        change: Expression,
        returned: ReturnValue,
    ) -> Result<Item, Refusal> {
        let parts = change.parts();
        let update = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_item(key)))
            .set_update_expression(parts.update)
            .set_condition_expression(parts.condition)
            .set_expression_attribute_names(parts.names)
            .set_expression_attribute_values(parts.values)
            .return_values(returned)
            .set_return_values_on_condition_check_failure(parts.on_failure);
        let answer = retry(|| update.clone().send(), "UpdateItem").await?;
        Ok(answer.attributes.unwrap_or_default())
    }

    /// Updates an item if the condition of `change` holds, and returns whether it did.
    pub(super) async fn update_if(
        &self,
        key: &Key,
        change: Expression,
    ) -> Result<bool, StoreError> {
        took_place(self.update(key, change, ReturnValue::None).await)
    }

    /// Deletes an item if the condition of `when` holds, and returns the item if it existed.
    pub(super) async fn delete(
        &self,
        key: &Key,
        when: Expression,
    ) -> Result<Option<Item>, Refusal> {
        let parts = when.condition();
        let delete = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key_item(key)))
            .set_condition_expression(parts.condition)
            .set_expression_attribute_names(parts.names)
            .set_expression_attribute_values(parts.values)
            .return_values(ReturnValue::AllOld);
        let answer = retry(|| delete.clone().send(), "DeleteItem").await?;
        Ok(answer.attributes)
    }

    /// Returns a query by these conditions on the keys of the table or of an index. The values of
    /// the placeholders are texts, as all keys are.
    pub(super) fn query<const N: usize>(
        &self,
        keys: &str,
        values: [(&str, &str); N],
    ) -> QueryFluentBuilder {
        let values = attributes(values.map(|(name, value)| (name, text(value))));
        let query = self.client.query().table_name(&self.name);
        let query = query.key_condition_expression(keys);
        query.set_expression_attribute_values(Some(values))
    }

    /// Executes all writes or none. Each write has a label, by which its failed condition is
    /// reported.
    ///
    /// # Errors
    /// Any failure but that of a condition.
    pub(super) async fn transact<L>(
        &self,
        writes: Vec<(L, TransactWriteItem)>,
    ) -> Result<Transacted<L>, StoreError> {
        let (labels, items): (Vec<L>, Vec<_>) = writes.into_iter().unzip();
        let call = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items));
        let result = (|| call.clone().send())
            .retry(backoff())
            .when(|error| {
                error
                    .as_service_error()
                    .is_some_and(is_transaction_conflict)
            })
            .await;
        match result {
            Ok(_) => Ok(Transacted::Done),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled.cancellation_reasons().iter().any(is_condition) =>
                {
                    // DynamoDB gives a reason for each write, in their order.
                    let reasons = labels.into_iter().zip(cancelled.cancellation_reasons());
                    let refused = reasons.filter(|(_, reason)| is_condition(reason));
                    let item = |reason: &CancellationReason| reason.item().cloned();
                    let refused = refused.map(|(label, it)| (label, item(it).unwrap_or_default()));
                    Ok(Transacted::Refused(refused.collect()))
                }
                _ => Err(failed("TransactWriteItems", error)),
            },
        }
    }
}

/// Returns whether a conditional write took place.
pub(super) fn took_place<T>(written: Result<T, Refusal>) -> Result<bool, StoreError> {
    match written {
        Ok(_) => Ok(true),
        Err(Refusal::Condition(_)) => Ok(false),
        Err(Refusal::Error(error)) => Err(error),
    }
}

/// Returns a page of a query.
pub(super) async fn page(query: QueryFluentBuilder) -> Result<QueryOutput, StoreError> {
    query.send().await.map_err(|error| failed("Query", error))
}

/// Returns a limit as the SDK takes it.
pub(super) fn at_most(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

/// The outcome of a transaction.
#[derive(Debug, PartialEq)]
pub(super) enum Transacted<L> {
    Done,
    /// The labels of the writes whose condition failed, each with the present item if the write
    /// requests it and the item exists, and otherwise an empty one.
    Refused(Vec<(L, Item)>),
}

/// The label of a write in a transaction: the record that the write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A request of Slack, which creates a task or a bulk operation once.
    Request,
    /// A task.
    Task,
    /// A task's specification, its result, or a late report.
    Content,
    /// A place in an agent's queue.
    Place,
    /// An agent: its slots, its connection, its gate.
    Agent,
    /// An agent's circuit breaker.
    Breaker,
    /// An API key.
    Key,
    /// A connection that authenticates in band.
    Connection,
    /// A bulk operation.
    Batch,
}

/// Returns the present item of the write with the label `part`, if the write's condition failed.
pub(super) fn refused(refused: &[(Part, Item)], part: Part) -> Option<&Item> {
    let (_, item) = refused.iter().find(|(label, _)| *label == part)?;
    Some(item)
}

fn is_condition(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Whether a transaction failed because another write of one of its items was under way, or was
/// throttled. The SDK does not retry it.
fn is_transaction_conflict(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        return false;
    };
    let reasons = cancelled.cancellation_reasons();
    !reasons.iter().any(is_condition)
        && reasons.iter().any(|reason| {
            matches!(
                reason.code(),
                Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
            )
        })
}

/// Returns the waits between tries: 20 ms to 640 ms with jitter, eleven tries, some 6 s in all,
/// which is well within a function's timeout. Fifty tasks of one agent that end at the same time
/// all succeed.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(640))
        .with_max_times(10)
        .with_jitter()
}

/// The reason that a single write did not take place.
pub(super) enum Refusal {
    /// The write's condition does not hold. The present item, if the write requests it and the item
    /// exists; otherwise an empty one.
    Condition(Item),
    Error(StoreError),
}

impl Refusal {
    /// Returns the error of a write that has no condition.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Error(error) => error,
            Self::Condition(_) => StoreError::Call {
                operation: "write",
                source: "a condition failed though none was set".into(),
            },
        }
    }
}

/// Executes a single write, and repeats it while a transaction on its item is under way.
pub(super) async fn retry<T, E, F>(
    mut call: impl FnMut() -> F,
    operation: &'static str,
) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    E: ProvideErrorMetadata + ConditionItem + std::error::Error + Send + Sync + 'static,
{
    let result = (|| call())
        .retry(backoff())
        .when(|error| {
            error.as_service_error().and_then(|error| error.code())
                == Some("TransactionConflictException")
        })
        .await;
    match result {
        Ok(answer) => Ok(answer),
        Err(error) => match error
            .as_service_error()
            .and_then(ConditionItem::condition_item)
        {
            Some(old) => Err(Refusal::Condition(old)),
            None => Err(Refusal::Error(failed(operation, error))),
        },
    }
}

/// An SDK error that may be a failed condition.
pub(super) trait ConditionItem {
    /// Returns the present item, empty if there is none; `None` if no condition failed.
    fn condition_item(&self) -> Option<Item>;
}

macro_rules! condition_item {
    ($($module:ident :: $error:ident),*) => {$(
        impl ConditionItem for aws_sdk_dynamodb::operation::$module::$error {
            fn condition_item(&self) -> Option<Item> {
                match self {
                    Self::ConditionalCheckFailedException(failed) => {
                        Some(failed.item().cloned().unwrap_or_default())
                    }
                    _ => None,
                }
            }
        }
    )*};
}

condition_item!(
    put_item::PutItemError,
    update_item::UpdateItemError,
    delete_item::DeleteItemError
);

/// Returns an SDK error as the ports' error.
pub(super) fn failed<E>(operation: &'static str, error: SdkError<E>) -> StoreError
where
    E: std::error::Error + Send + Sync + 'static,
{
    StoreError::Call {
        operation,
        source: Box::new(error),
    }
}
