//! `TextEncoder` and `TextDecoder`, UTF-8 only, so that the same guest runs in Node, Deno and Workers.
//!
//! They are made when a guest first names them: a context that never does pays two lazy properties. What is not here
//! throws and says so: other encodings, and decoding in pieces (`stream: true`).

use crate::memory::Memory;
use std::borrow::Cow;
use std::ffi::c_void;
use std::sync::Arc;
use v8::MapFnTo;

/// A decoder's field: whether invalid bytes throw instead of becoming U+FFFD. Its fields hold booleans and not numbers,
/// because in a snapshot V8 would take a number for an address.
const FATAL: usize = 0;
/// A decoder's field: whether a byte-order mark is kept.
const IGNORE_BOM: usize = 1;
/// How many fields a decoder has.
const FIELDS: usize = 2;

/// Defines both on the context's global object.
pub(crate) fn install(scope: &mut v8::PinScope<'_, '_>, context: v8::Local<'_, v8::Context>) {
    let global = context.global(scope);
    let encoder = string(scope, "TextEncoder").into();
    let decoder = string(scope, "TextDecoder").into();
    // Nothing fails on a fresh global object.
    let _ = global.set_lazy_data_property(scope, encoder, make_encoder);
    let _ = global.set_lazy_data_property(scope, decoder, make_decoder);
}

/// Every address of ours that a context with both may hold: a snapshot of it is taken and started with this table.
pub(crate) fn references() -> Cow<'static, [v8::ExternalReference]> {
    let getters: [v8::AccessorNameGetterCallback; 2] = [make_encoder.map_fn_to(), make_decoder.map_fn_to()];
    let functions: [v8::FunctionCallback; 5] = [
        construct_encoder.map_fn_to(),
        encode.map_fn_to(),
        encode_into.map_fn_to(),
        construct_decoder.map_fn_to(),
        decode.map_fn_to(),
    ];
    let getters = getters.map(|getter| v8::ExternalReference { pointer: getter as *mut c_void });
    let functions = functions.map(|function| v8::ExternalReference { function });
    // The crate wants a null at the end, and copies the table to append one that is missing.
    let end = [v8::ExternalReference { pointer: std::ptr::null_mut() }];
    getters.into_iter().chain(functions).chain(end).collect()
}

type Value = v8::Value;
type Args<'s> = v8::FunctionCallbackArguments<'s>;

fn make_encoder(
    scope: &mut v8::PinScope<'_, '_>,
    name: v8::Local<'_, v8::Name>,
    _: v8::PropertyCallbackArguments<'_>,
    mut answer: v8::ReturnValue<'_, Value>,
) {
    let class = v8::FunctionTemplate::new(scope, construct_encoder);
    let methods = [
        ("encode", v8::FunctionTemplate::new(scope, encode)),
        ("encodeInto", v8::FunctionTemplate::new(scope, encode_into)),
    ];
    finish(scope, class, name, &methods, &mut answer);
}

fn make_decoder(
    scope: &mut v8::PinScope<'_, '_>,
    name: v8::Local<'_, v8::Name>,
    _: v8::PropertyCallbackArguments<'_>,
    mut answer: v8::ReturnValue<'_, Value>,
) {
    let class = v8::FunctionTemplate::new(scope, construct_decoder);
    class.instance_template(scope).set_internal_field_count(FIELDS);
    // The signature keeps `decode` from being called on anything that has no state of ours.
    let signature = v8::Signature::new(scope, class);
    let methods = [("decode", v8::FunctionTemplate::builder(decode).signature(signature).build(scope))];
    finish(scope, class, name, &methods, &mut answer);
}

fn finish(
    scope: &mut v8::PinScope<'_, '_>,
    class: v8::Local<'_, v8::FunctionTemplate>,
    name: v8::Local<'_, v8::Name>,
    methods: &[(&str, v8::Local<'_, v8::FunctionTemplate>)],
    answer: &mut v8::ReturnValue<'_, Value>,
) {
    if let Ok(name) = name.try_cast::<v8::String>() {
        class.set_class_name(name);
    }
    let prototype = class.prototype_template(scope);
    for (method, function) in methods {
        prototype.set(string(scope, method).into(), (*function).into());
    }
    prototype.set(string(scope, "encoding").into(), string(scope, "utf-8").into());
    if let Some(class) = class.get_function(scope) {
        answer.set(class.into());
    }
}

fn construct_encoder(scope: &mut v8::PinScope<'_, '_>, args: Args<'_>, _: v8::ReturnValue<'_, Value>) {
    if !args.is_construct_call() {
        throw_type_error(scope, "TextEncoder must be called with `new`");
    }
}

fn encode<'s>(scope: &mut v8::PinScope<'s, '_>, args: Args<'s>, mut answer: v8::ReturnValue<'_, Value>) {
    // An exception of the guest's own `toString` is on its way already.
    let Some(text) = argument_text(scope, &args) else { return };
    let len = text.utf8_length(scope);
    let memory = Arc::clone(scope.get_slot::<Arc<Memory>>().expect("set with the isolate"));
    let Some(buffer) = memory.buffer(scope, len) else {
        let message = string(scope, "Array buffer allocation failed");
        let error = v8::Exception::range_error(scope, message);
        scope.throw_exception(error);
        return;
    };
    if let Some(data) = buffer.data() {
        // SAFETY: the buffer is new, zeroed, of that length, and nobody else knows it.
        let room = unsafe { std::slice::from_raw_parts_mut(data.as_ptr().cast::<u8>(), len) };
        text.write_utf8_v2(scope, room, v8::WriteFlags::kReplaceInvalidUtf8, None);
    }
    if let Some(bytes) = v8::Uint8Array::new(scope, buffer, 0, len) {
        answer.set(bytes.into());
    }
}

fn encode_into<'s>(scope: &mut v8::PinScope<'s, '_>, args: Args<'s>, mut answer: v8::ReturnValue<'_, Value>) {
    let Some(text) = argument_text(scope, &args) else { return };
    let Ok(target) = args.get(1).try_cast::<v8::Uint8Array>() else {
        return throw_type_error(scope, "encodeInto: the second argument must be a Uint8Array");
    };
    // Into memory of our own first: writing may flatten the string, which may move a small target.
    let mut room = vec![0; target.byte_length().min(text.length() * 3)];
    let mut read = 0;
    let written = text.write_utf8_v2(scope, &mut room, v8::WriteFlags::kReplaceInvalidUtf8, Some(&mut read));
    if written > 0 {
        // SAFETY: a view of at least that many bytes; nothing of V8's runs between asking for its address and writing.
        unsafe { std::ptr::copy_nonoverlapping(room.as_ptr(), target.data().cast::<u8>(), written) };
    }
    let result = v8::Object::new(scope);
    for (key, value) in [("read", read), ("written", written)] {
        let (key, value) = (string(scope, key).into(), v8::Number::new(scope, value as f64).into());
        result.create_data_property(scope, key, value);
    }
    answer.set(result.into());
}

fn argument_text<'s>(scope: &mut v8::PinScope<'s, '_>, args: &Args<'s>) -> Option<v8::Local<'s, v8::String>> {
    let text = args.get(0);
    if text.is_undefined() { Some(v8::String::empty(scope)) } else { text.to_string(scope) }
}

fn construct_decoder<'s>(scope: &mut v8::PinScope<'s, '_>, args: Args<'s>, _: v8::ReturnValue<'_, Value>) {
    if !args.is_construct_call() {
        return throw_type_error(scope, "TextDecoder must be called with `new`");
    }
    let label = args.get(0);
    if !label.is_undefined() {
        let Some(label) = label.to_string(scope) else { return };
        let label = label.to_rust_string_lossy(scope);
        if !["utf-8", "utf8", "unicode-1-1-utf-8"].contains(&label.trim().to_ascii_lowercase().as_str()) {
            let message = string(scope, &format!("TextDecoder: `{label}`: only utf-8 is supported"));
            let error = v8::Exception::range_error(scope, message);
            scope.throw_exception(error);
            return;
        }
    }
    for (name, field) in [("fatal", FATAL), ("ignoreBOM", IGNORE_BOM)] {
        let Some(set) = option(scope, args.get(1), name) else { return };
        let (key, value) = (string(scope, name).into(), v8::Boolean::new(scope, set).into());
        args.this().define_own_property(scope, key, value, v8::PropertyAttribute::READ_ONLY);
        args.this().set_internal_field(field, v8::Boolean::new(scope, set).into());
    }
}

fn decode<'s>(scope: &mut v8::PinScope<'s, '_>, args: Args<'s>, mut answer: v8::ReturnValue<'_, Value>) {
    let [fatal, ignore_bom] = [FATAL, IGNORE_BOM].map(|field| {
        let set = args.this().get_internal_field(scope, field).and_then(|set| set.try_cast::<Value>().ok());
        set.is_some_and(|set| set.is_true())
    });
    match option(scope, args.get(1), "stream") {
        Some(false) => {}
        Some(true) => return throw_type_error(scope, "TextDecoder: `stream: true` is not supported"),
        None => return,
    }
    let input = args.get(0);
    let mut small = [0; v8::TYPED_ARRAY_MAX_SIZE_IN_HEAP];
    let buffer;
    let mut bytes: &[u8] = if let Ok(view) = input.try_cast::<v8::ArrayBufferView>() {
        buffer = view;
        buffer.get_contents(&mut small)
    } else if let Ok(whole) = input.try_cast::<v8::ArrayBuffer>() {
        // SAFETY: the buffer stays alive and attached: nothing of the guest's runs until we are done.
        whole
            .data()
            .map_or(&[], |data| unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), whole.byte_length()) })
    } else if input.is_undefined() {
        &[]
    } else {
        return throw_type_error(scope, "TextDecoder: can decode an ArrayBuffer or a view of one");
    };
    if fatal && std::str::from_utf8(bytes).is_err() {
        return throw_type_error(scope, "The encoded data was not valid for encoding utf-8");
    }
    if !ignore_bom {
        bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    }
    match v8::String::new_from_utf8(scope, bytes, v8::NewStringType::Normal) {
        Some(text) => answer.set(text.into()),
        None => {
            let message = string(scope, "TextDecoder: the text is longer than a string can be");
            let error = v8::Exception::range_error(scope, message);
            scope.throw_exception(error);
        }
    }
}

/// A boolean option; `None` where reading it threw.
fn option<'s>(scope: &mut v8::PinScope<'s, '_>, options: v8::Local<'s, Value>, name: &str) -> Option<bool> {
    let Ok(options) = options.try_cast::<v8::Object>() else { return Some(false) };
    let key = string(scope, name).into();
    options.get(scope, key).map(|value| value.boolean_value(scope))
}

fn throw_type_error(scope: &mut v8::PinScope<'_, '_>, message: &str) {
    let message = string(scope, message);
    let error = v8::Exception::type_error(scope, message);
    scope.throw_exception(error);
}

fn string<'s>(scope: &mut v8::PinScope<'s, '_>, text: &str) -> v8::Local<'s, v8::String> {
    v8::String::new(scope, text).expect("a short string")
}
