//! The attributes `#[durable::workflow]` and `#[durable::step]`.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, ItemFn, Type, parse_macro_input, spanned::Spanned};

/// Makes a function a workflow that is run again after a crash.
///
/// The function takes a `Ctx`, or a `Ctx` and an input, and returns a `Result`. For
/// `order` it adds `durable_order(&db, name)`, or `durable_order(&db, name, input)`,
/// which starts a workflow with `order` as handler, and registers `order` by that name.
#[proc_macro_attribute]
pub fn workflow(_attributes: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    match expand_workflow(&function) {
        Ok(code) => code.into(),
        Err(error) => error.into_compile_error().into(),
    }
}

fn type_of(argument: &FnArg) -> syn::Result<&Type> {
    match argument {
        FnArg::Typed(argument) => Ok(&argument.ty),
        FnArg::Receiver(_) => Err(syn::Error::new(argument.span(), "a workflow is a function, not a method")),
    }
}

fn expand_workflow(function: &ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let name = &function.sig.ident;
    let handler = name.to_string();
    let visibility = &function.vis;
    let start = format_ident!("durable_{name}");
    let doc = format!("Starts `{name}` as a workflow of that name, or attaches to the unfinished one.");
    if function.sig.asyncness.is_none() {
        return Err(syn::Error::new(function.sig.span(), "a workflow is an async fn"));
    }
    let arguments: Vec<&Type> = function.sig.inputs.iter().map(type_of).collect::<syn::Result<_>>()?;
    let (parameter, input, call) = match arguments[..] {
        [_] => (quote!(), quote!(::core::option::Option::None), quote!(#name(ctx).await)),
        [_, input] => (
            quote!(, input: #input),
            quote!(::core::option::Option::Some(::durable::serde_json::to_value(input)?)),
            quote!({
                let input: #input = ctx.input().await?;
                #name(ctx, input).await
            }),
        ),
        _ => return Err(syn::Error::new(function.sig.span(), "a workflow takes a Ctx, or a Ctx and an input")),
    };
    Ok(quote! {
        #function

        #[doc = #doc]
        #visibility async fn #start(
            db: &::durable::sea_orm::DatabaseConnection,
            name: &str
            #parameter
        ) -> ::core::result::Result<::durable::StartResult, ::durable::DurableError> {
            ::durable::Ctx::start_with_handler(db, name, #input, ::core::option::Option::Some(#handler)).await
        }

        ::durable::inventory::submit! {
            ::durable::WorkflowRegistration {
                name: #handler,
                resume_fn: |ctx| ::std::boxed::Box::pin(async move {
                    let result = #call;
                    result.map(|_| ())
                }),
            }
        }
    })
}

/// Marks a function that is run as a step. It changes nothing: the step is what `Ctx::step` makes of it.
#[proc_macro_attribute]
pub fn step(_attributes: TokenStream, item: TokenStream) -> TokenStream {
    item
}
