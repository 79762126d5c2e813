//! What the thirteen kinds have in common: the root object around `spec` and `status`.
//!
//! kube's derive is not used for it, because it gives the kind a status subresource, which Velero's kinds lack,
//! and refuses an object without `spec`, which the API server accepts: one such object would stop a watch.

use schemars::JsonSchema;

/// A kind with its names, for those who work on all kinds alike.
pub trait Kind: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> {
    const GROUP: &'static str = "velero.io";
    const VERSION: &'static str;
    const KIND: &'static str;
    const PLURAL: &'static str;
    const DESCRIPTION: &'static str;

    type Spec: JsonSchema;
    type Status: JsonSchema;
}

/// Declares the root object of a kind. The first line of its documentation describes the kind in its CRD.
macro_rules! kind {
    (
        #[doc = $description:literal]
        $(#[$attribute:meta])*
        $kind:ident in $version:literal as $plural:literal { spec: $spec:ty, status: $status:ty }
    ) => {
        #[doc = $description]
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(default)]
        pub struct $kind {
            pub metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            pub spec: $spec,
            pub status: $status,
        }

        impl $kind {
            pub fn new(name: &str, spec: $spec) -> Self {
                let metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                    name: Some(name.to_owned()),
                    ..Default::default()
                };
                Self { metadata, spec, status: Default::default() }
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                let mut root = serializer.serialize_struct(stringify!($kind), 5)?;
                root.serialize_field("apiVersion", concat!("velero.io/", $version))?;
                root.serialize_field("kind", stringify!($kind))?;
                root.serialize_field("metadata", &self.metadata)?;
                root.serialize_field("spec", &self.spec)?;
                if self.status == <$status>::default() {
                    root.skip_field("status")?;
                } else {
                    root.serialize_field("status", &self.status)?;
                }
                root.end()
            }
        }

        impl crate::velero::kind::Kind for $kind {
            const VERSION: &'static str = $version;
            const KIND: &'static str = stringify!($kind);
            const PLURAL: &'static str = $plural;
            const DESCRIPTION: &'static str = $description;

            type Spec = $spec;
            type Status = $status;
        }

        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }

            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                <Self as crate::velero::kind::Kind>::GROUP.into()
            }

            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }

            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

pub(super) use kind;
