//! Secrets Manager's secrets.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use serde_json::{Value, json};

use crate::common::{ServiceError, ServiceResult, lock};

/// The secrets, by ARN.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<HashMap<String, Versions>>);

#[derive(Debug, Clone)]
struct Versions {
    current: Version,
    previous: Option<Version>,
}

#[derive(Debug, Clone)]
struct Version {
    text: String,
    /// Since the Unix epoch.
    created: Duration,
}

impl Secrets {
    /// Stores a new version of a secret, created at this time in Unix milliseconds: the present
    /// version becomes the previous one, as after PutSecretValue.
    pub fn put(&self, arn: &str, text: &str, created: u64) {
        let mut secrets = lock(&self.0);
        let current = Version {
            text: text.to_owned(),
            created: Duration::from_millis(created),
        };
        let previous = secrets.get(arn).map(|it| it.current.clone());
        secrets.insert(arn.to_owned(), Versions { current, previous });
    }

    /// Answers GetSecretValue of a version by its label.
    pub(crate) fn call(&self, operation: &str, request: &Value) -> ServiceResult {
        if operation != "GetSecretValue" {
            let code = "UnknownOperationException";
            return Err(ServiceError::new(400, code, operation));
        }
        let arn = request["SecretId"].as_str().unwrap_or_default();
        let label = request["VersionStage"].as_str().unwrap_or("AWSCURRENT");
        let secrets = lock(&self.0);
        let versions = secrets.get(arn);
        let version = versions.and_then(|it| match label {
            "AWSCURRENT" => Some(&it.current),
            "AWSPREVIOUS" => it.previous.as_ref(),
            _ => None,
        });
        let Some(version) = version else {
            let code = "ResourceNotFoundException";
            return Err(ServiceError::new(400, code, label));
        };
        Ok(json!({
            "ARN": arn,
            "CreatedDate": version.created.as_secs_f64(),
            "SecretString": version.text,
            "VersionStages": [label],
        }))
    }
}
