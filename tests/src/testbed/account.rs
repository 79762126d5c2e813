//! Accounts with the roles that Holdfast asks for and no more, so that what the tests run is held to them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use holdfast::rights::{self, Grant, Reach, Role};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use super::Testbed;
use super::access::Access;
use super::keys::random_token;

/// The API server learns of new bindings a little later.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Longer than any test.
const LIFETIME_SECONDS: i64 = 24 * 3600;
/// An account for what works in no namespace of its own.
const NOWHERE: &str = "default";

/// How something signs in that is no administrator.
pub struct Account {
    /// A file of the testbed's directory.
    pub kubeconfig: PathBuf,
    pub client: Client,
}

impl Testbed {
    /// The account of a daemon that works in `namespace`, with these roles. Ready: its rights are in force.
    pub async fn account(&self, namespace: &str, roles: &[Role]) -> anyhow::Result<Account> {
        let admin = self.client()?;
        // A daemon may be told of a namespace that is not there; it still has to sign in to find out.
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(admin.clone());
        let home = match namespaces.get_opt(namespace).await.context("looking for the namespace")? {
            Some(_) => namespace,
            None => NOWHERE,
        };
        let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let grant = Grant {
            namespace: home.to_owned(),
            account: format!("holdfast-{}", names.join("-")),
            roles: roles.iter().copied().collect(),
            hooks_in: vec!["*".to_owned()],
            policies_in: vec!["*".to_owned()],
        };
        for object in rights::manifests(&grant)? {
            apply(&admin, serde_json::from_value(object)?, &grant.account).await?;
        }
        let token = token(&admin, &grant).await?;
        let access = Access { token, ..self.plane.access.clone() };
        let client = access.client()?;
        timeout(PATIENCE, in_force(&client, &grant))
            .await
            .context("the rights of an account did not come")??;
        let folder = self.directory().join("accounts");
        fs::create_dir_all(&folder).context("making a folder for kubeconfigs")?;
        let kubeconfig = folder.join(&random_token()[..16]);
        fs::write(&kubeconfig, access.kubeconfig()).context("writing a kubeconfig")?;
        Ok(Account { kubeconfig, client })
    }
}

async fn apply(admin: &Client, mut object: DynamicObject, account: &str) -> anyhow::Result<()> {
    let types = object.types.clone().context("an object without its kind")?;
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
    // Accounts with different roles stand side by side in a namespace.
    if types.kind.ends_with("Binding") {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        object.metadata.name = Some(format!("{name}-{account}"));
    }
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    let name = object.metadata.name.clone().context("an object without a name")?;
    let parameters = PatchParams::apply("testbed").force();
    // Two tests may make the same role at once.
    for _ in 0..20 {
        match api.patch(&name, &parameters, &Patch::Apply(&object)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => sleep(POLL).await,
            outcome => return outcome.map(drop).with_context(|| format!("applying {} {name}", types.kind)),
        }
    }
    anyhow::bail!("{} {name} could not be applied: it changes all the time", types.kind)
}

async fn token(admin: &Client, grant: &Grant) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), &grant.namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(LIFETIME_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(&grant.account, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("asking for a token of {}", grant.account))?;
    answer.status.and_then(|status| status.token).context("an answer without a token")
}

/// Waits until the API server grants what the roles hold.
async fn in_force(client: &Client, grant: &Grant) -> anyhow::Result<()> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    for right in rights::ALL.iter().filter(|right| grant.roles.contains(&right.role)) {
        let (resource, subresource) = match right.resources[0].split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (right.resources[0], None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(right.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    verb: Some(right.verbs[0].to_owned()),
                    namespace: match right.reach {
                        Reach::Home => Some(grant.namespace.clone()),
                        Reach::Cluster => None,
                    },
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        loop {
            let answer =
                reviews.create(&PostParams::default(), &review).await.context("asking for rights")?;
            if answer.status.is_some_and(|status| status.allowed) {
                break;
            }
            sleep(POLL).await;
        }
    }
    Ok(())
}
