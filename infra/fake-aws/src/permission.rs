//! The permissions of IAM that a call needs.

use std::fmt;

use crate::metering::Access;

/// A permission of IAM: an action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The action, such as `dynamodb:GetItem`.
    pub action: String,
    /// A table, queue or secret by its logical id, an index as `table/index/name`, and of connections
    /// `POST/@connections/*` or `DELETE/@connections/*`.
    pub resource: String,
}

impl Permission {
    /// Creates a permission.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        let (action, resource) = (action.into(), resource.into());
        Self { action, resource }
    }

    /// The permissions of a call to DynamoDB: one an operation, except that a transaction needs
    /// those of the single operations that it is made of, and `dynamodb:ConditionCheckItem` for a
    /// check. A query of an index is on the index alone.
    ///
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html>
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
    pub(crate) fn of_accesses(operation: &str, accesses: &[Access<'_>]) -> Vec<Self> {
        let permissions = accesses.iter().map(|access| {
            let action = match access.part() {
                Some(part) => format!("dynamodb:{part}Item"),
                None => format!("dynamodb:{operation}"),
            };
            let table = access.table();
            let index = access.index().map(|index| format!("{table}/index/{index}"));
            Self::new(action, index.unwrap_or_else(|| table.to_owned()))
        });
        let mut permissions: Vec<_> = permissions.collect();
        permissions.sort();
        permissions.dedup();
        permissions
    }

    /// The permission of a call to a queue. A batch needs the permission of its single operation.
    ///
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html>
    pub(crate) fn of_queue(operation: &str, queue: &str) -> Self {
        let action = operation.strip_suffix("Batch").unwrap_or(operation);
        Self::new(format!("sqs:{action}"), queue)
    }

    /// The permission of a call about a secret.
    ///
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html>
    pub(crate) fn of_secret(operation: &str, secret: &str) -> Self {
        Self::new(format!("secretsmanager:{operation}"), secret)
    }

    /// The permission of a call to a connection: one action, on the method and the path.
    ///
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-control-access-iam.html>
    pub(crate) fn of_connection(operation: &str) -> Self {
        let method = if operation == "PostToConnection" {
            "POST"
        } else {
            "DELETE"
        };
        let resource = format!("{method}/@connections/*");
        Self::new("execute-api:ManageConnections", resource)
    }
}

impl fmt::Display for Permission {
    /// Such as `dynamodb:GetItem TasksTable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.resource)
    }
}
