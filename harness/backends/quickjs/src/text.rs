//! `TextEncoder` and `TextDecoder`, UTF-8 only, so that the same guest runs in Node, Deno and Workers.
//!
//! Written against QuickJS's own interface and not with the crate's classes: those keep their prototypes with the
//! runtime, where contexts that share one would find what others left there. What is not here throws and says so: other
//! encodings, and decoding in pieces (`stream: true`).

use crate::utf8::{fitting, replaced, well_formed};
use isobench_core::Fault;
use rquickjs::{Ctx, qjs};
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

use qjs::{JSClassID, JSContext, JSValue};

/// A decoder's flag: invalid bytes throw instead of becoming U+FFFD.
const FATAL: usize = 1;
/// A decoder's flag: a byte-order mark is kept.
const IGNORE_BOM: usize = 2;
/// Set in the flags of every decoder; they lie where QuickJS keeps a pointer, and none may be null.
const DECODER: usize = 4;

/// QuickJS has been told what to throw.
struct Threw;

/// A function of ours as QuickJS calls it; the last argument is the class of decoders.
type Native = unsafe extern "C" fn(*mut JSContext, JSValue, c_int, *mut JSValue, c_int) -> JSValue;

/// Defines both on the context's global object. `class` is where the number of the runtime's class of decoders is kept:
/// zero until its first context is made.
///
/// # Errors
/// There is no memory for them.
pub(crate) fn install(ctx: &Ctx<'_>, class: &Cell<JSClassID>) -> Result<(), Fault> {
    let context = ctx.as_raw().as_ptr();
    let encoder: [Method; 2] = [(c"encode", encode, 1), (c"encodeInto", encode_into, 2)];
    let decoder: [Method; 1] = [(c"decode", decode, 1)];
    // SAFETY: the context is alive and nothing runs in it.
    let defined = unsafe {
        register(context, class)
            .and_then(|class| define(context, c"TextEncoder", construct_encoder, class, &encoder))
            .and_then(|class| define(context, c"TextDecoder", construct_decoder, class, &decoder))
    };
    defined.map(drop).map_err(|Threw| {
        ctx.catch();
        Fault::backend("QuickJS had no memory for TextEncoder and TextDecoder")
    })
}

/// A method: its name, what it does, how many parameters it has.
type Method = (&'static CStr, Native, c_int);

/// Makes the class of decoders known to the runtime, once.
unsafe fn register(context: *mut JSContext, class: &Cell<JSClassID>) -> Result<c_int, Threw> {
    if class.get() == 0 {
        let definition = qjs::JSClassDef {
            class_name: c"TextDecoder".as_ptr(),
            finalizer: None,
            gc_mark: None,
            call: None,
            exotic: std::ptr::null_mut(),
        };
        let mut id = 0;
        // SAFETY: QuickJS copies the definition.
        let made = unsafe {
            let runtime = qjs::JS_GetRuntime(context);
            qjs::JS_NewClass(runtime, qjs::JS_NewClassID(runtime, &mut id), &definition)
        };
        if made != 0 {
            return Err(Threw);
        }
        class.set(id);
    }
    c_int::try_from(class.get()).map_err(|_| Threw)
}

/// Defines a constructor and what its prototype has.
unsafe fn define(
    context: *mut JSContext,
    name: &CStr,
    construct: Native,
    class: c_int,
    methods: &[Method],
) -> Result<c_int, Threw> {
    let hidden = (qjs::JS_PROP_WRITABLE | qjs::JS_PROP_CONFIGURABLE) as c_int;
    // SAFETY: what is put into an object belongs to it, also where putting it fails.
    unsafe {
        let put = |object, key: &CStr, value| {
            if qjs::JS_IsException(value)
                || qjs::JS_DefinePropertyValueStr(context, object, key.as_ptr(), value, hidden) < 0
            {
                return Err(Threw);
            }
            Ok(())
        };
        let prototype = qjs::JS_NewObject(context);
        let mut defined = methods.iter().try_for_each(|(key, method, parameters)| {
            let kind = qjs::JSCFunctionEnum_JS_CFUNC_generic_magic;
            put(prototype, key, function(context, *method, key, *parameters, kind, class))
        });
        defined = defined.and_then(|()| put(prototype, c"encoding", string(context, "utf-8")));
        if defined.is_ok() {
            let kind = qjs::JSCFunctionEnum_JS_CFUNC_constructor_magic;
            let constructor = function(context, construct, name, 0, kind, class);
            if !qjs::JS_IsException(constructor) {
                qjs::JS_SetConstructor(context, constructor, prototype);
            }
            let global = qjs::JS_GetGlobalObject(context);
            defined = put(global, name, constructor);
            qjs::JS_FreeValue(context, global);
        }
        qjs::JS_FreeValue(context, prototype);
        defined.map(|()| class)
    }
}

unsafe fn function(
    context: *mut JSContext,
    native: Native,
    name: &CStr,
    parameters: c_int,
    kind: qjs::JSCFunctionEnum,
    class: c_int,
) -> JSValue {
    // SAFETY: `kind` says that the function takes one argument more than this type has.
    unsafe {
        let native = std::mem::transmute::<Native, qjs::JSCFunction>(native);
        qjs::JS_NewCFunction2(context, native, name.as_ptr(), parameters, kind, class)
    }
}

unsafe extern "C" fn construct_encoder(
    context: *mut JSContext,
    new_target: JSValue,
    _: c_int,
    _: *mut JSValue,
    _: c_int,
) -> JSValue {
    // SAFETY: QuickJS calls it with living values. An object of no class of its own: an encoder has no state.
    answer(unsafe {
        prototype_of(context, new_target).map(|prototype| {
            let object = qjs::JS_NewObjectProto(context, prototype);
            qjs::JS_FreeValue(context, prototype);
            object
        })
    })
}

unsafe extern "C" fn encode(context: *mut JSContext, _: JSValue, argc: c_int, argv: *mut JSValue, _: c_int) -> JSValue {
    // SAFETY: QuickJS calls it with living values; the text lives until it is dropped.
    answer(unsafe {
        Text::of(context, argument(argc, argv, 0)).map(|text| {
            let bytes = text.bytes();
            qjs::JS_NewUint8ArrayCopy(context, bytes.as_ptr(), bytes.len() as qjs::size_t)
        })
    })
}

unsafe extern "C" fn encode_into(
    context: *mut JSContext,
    _: JSValue,
    argc: c_int,
    argv: *mut JSValue,
    _: c_int,
) -> JSValue {
    // SAFETY: QuickJS calls it with living values; nothing of the guest's runs between asking where the target's bytes
    // lie and writing them.
    answer(unsafe {
        Text::of(context, argument(argc, argv, 0)).and_then(|text| {
            let target = argument(argc, argv, 1);
            if qjs::JS_GetTypedArrayType(target) != qjs::JSTypedArrayEnum_JS_TYPED_ARRAY_UINT8 as c_int {
                return Err(type_error(context, c"encodeInto: the second argument must be a Uint8Array"));
            }
            let mut room = 0;
            let data = qjs::JS_GetUint8Array(context, &mut room, target);
            if data.is_null() && qjs::JS_HasException(context) {
                return Err(Threw);
            }
            let bytes = text.bytes();
            let (part, read) = fitting(&bytes, room as usize);
            if !part.is_empty() {
                std::ptr::copy_nonoverlapping(part.as_ptr(), data, part.len());
            }
            let result = qjs::JS_NewObject(context);
            for (key, value) in [(c"read", read), (c"written", part.len())] {
                let (value, all) = (qjs::JS_NewFloat64(value as f64), qjs::JS_PROP_C_W_E as c_int);
                if qjs::JS_DefinePropertyValueStr(context, result, key.as_ptr(), value, all) < 0 {
                    qjs::JS_FreeValue(context, result);
                    return Err(Threw);
                }
            }
            Ok(result)
        })
    })
}

unsafe extern "C" fn construct_decoder(
    context: *mut JSContext,
    new_target: JSValue,
    argc: c_int,
    argv: *mut JSValue,
    class: c_int,
) -> JSValue {
    // SAFETY: QuickJS calls it with living values.
    answer(unsafe { new_decoder(context, new_target, argument(argc, argv, 0), argument(argc, argv, 1), class) })
}

unsafe fn new_decoder(
    context: *mut JSContext,
    new_target: JSValue,
    label: JSValue,
    options: JSValue,
    class: c_int,
) -> Result<JSValue, Threw> {
    // SAFETY: the values live as long as the call; what is made here is given away or freed.
    unsafe {
        if !qjs::JS_IsUndefined(label) {
            let label = Text::of(context, label)?;
            let label = label.bytes();
            let label = String::from_utf8_lossy(&label);
            if !["utf-8", "utf8", "unicode-1-1-utf-8"].contains(&label.trim().to_ascii_lowercase().as_str()) {
                qjs::JS_ThrowRangeError(context, c"TextDecoder: only utf-8 is supported".as_ptr());
                return Err(Threw);
            }
        }
        let fatal = option(context, options, c"fatal")?;
        let ignore_bom = option(context, options, c"ignoreBOM")?;
        let prototype = prototype_of(context, new_target)?;
        let decoder = qjs::JS_NewObjectProtoClass(context, prototype, class as JSClassID);
        qjs::JS_FreeValue(context, prototype);
        if qjs::JS_IsException(decoder) {
            return Err(Threw);
        }
        let flags = DECODER | if fatal { FATAL } else { 0 } | if ignore_bom { IGNORE_BOM } else { 0 };
        qjs::JS_SetOpaque(decoder, std::ptr::without_provenance_mut::<c_void>(flags));
        for (key, set) in [(c"fatal", fatal), (c"ignoreBOM", ignore_bom)] {
            let set = if set { qjs::JS_TRUE } else { qjs::JS_FALSE };
            let constant = (qjs::JS_PROP_ENUMERABLE | qjs::JS_PROP_CONFIGURABLE) as c_int;
            if qjs::JS_DefinePropertyValueStr(context, decoder, key.as_ptr(), set, constant) < 0 {
                qjs::JS_FreeValue(context, decoder);
                return Err(Threw);
            }
        }
        Ok(decoder)
    }
}

unsafe extern "C" fn decode(
    context: *mut JSContext,
    this: JSValue,
    argc: c_int,
    argv: *mut JSValue,
    class: c_int,
) -> JSValue {
    // SAFETY: QuickJS calls it with living values. No code of the guest's runs while its bytes are looked at.
    answer(unsafe {
        // Throws where `this` is of another class.
        let flags = qjs::JS_GetOpaque2(context, this, class as JSClassID).addr();
        let streams = if flags == 0 { Err(Threw) } else { option(context, argument(argc, argv, 1), c"stream") };
        streams.and_then(|streams| {
            if streams {
                return Err(type_error(context, c"TextDecoder: `stream: true` is not supported"));
            }
            let mut bytes = bytes_of(context, argument(argc, argv, 0))?;
            let valid = std::str::from_utf8(bytes).is_ok();
            if flags & FATAL != 0 && !valid {
                return Err(type_error(context, c"The encoded data was not valid for encoding utf-8"));
            }
            if flags & IGNORE_BOM == 0 {
                bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            }
            // QuickJS's own replacement differs from the specification's.
            let text = if valid { Cow::Borrowed(bytes) } else { Cow::Owned(replaced(bytes)) };
            Ok(qjs::JS_NewStringLen(context, text.as_ptr().cast(), text.len() as qjs::size_t))
        })
    })
}

/// The bytes that a buffer or a view of one shows. They are valid until something of the guest's runs.
unsafe fn bytes_of<'a>(context: *mut JSContext, input: JSValue) -> Result<&'a [u8], Threw> {
    // SAFETY: living values; the buffer stays alive because `input` keeps it.
    unsafe {
        if qjs::JS_IsUndefined(input) {
            return Ok(&[]);
        }
        if qjs::JS_IsArrayBuffer(input) {
            return whole(context, input);
        }
        let (mut start, mut len) = (0, 0);
        let buffer = if qjs::JS_GetTypedArrayType(input) >= 0 {
            qjs::JS_GetTypedArrayBuffer(context, input, &mut start, &mut len, std::ptr::null_mut())
        } else if qjs::JS_IsDataView(input) {
            // There is no other way to a view's fields: a guest that lies about them is lied to.
            (start, len) = (index(context, input, c"byteOffset")?, index(context, input, c"byteLength")?);
            qjs::JS_GetPropertyStr(context, input, c"buffer".as_ptr())
        } else {
            return Err(type_error(context, c"TextDecoder: can decode an ArrayBuffer or a view of one"));
        };
        if qjs::JS_IsException(buffer) {
            return Err(Threw);
        }
        let bytes = whole(context, buffer);
        qjs::JS_FreeValue(context, buffer);
        let (start, len) = (start as usize, len as usize);
        let part = bytes?.get(start..start.saturating_add(len));
        part.ok_or_else(|| type_error(context, c"TextDecoder: the view lies outside its buffer"))
    }
}

unsafe fn whole<'a>(context: *mut JSContext, buffer: JSValue) -> Result<&'a [u8], Threw> {
    let mut len = 0;
    // SAFETY: a living value; that many bytes lie at the address.
    unsafe {
        let data = qjs::JS_GetArrayBuffer(context, &mut len, buffer);
        match (data.is_null(), qjs::JS_HasException(context)) {
            (true, true) => Err(Threw),
            (true, false) => Ok(&[]),
            (false, _) => Ok(std::slice::from_raw_parts(data, len as usize)),
        }
    }
}

/// A property that is a length or an offset.
unsafe fn index(context: *mut JSContext, object: JSValue, key: &CStr) -> Result<qjs::size_t, Threw> {
    let mut index = 0;
    // SAFETY: living values; the property is freed once it is read.
    let read = unsafe {
        let value = qjs::JS_GetPropertyStr(context, object, key.as_ptr());
        let read = qjs::JS_ToIndex(context, &mut index, value);
        qjs::JS_FreeValue(context, value);
        read
    };
    if read < 0 { Err(Threw) } else { Ok(index as qjs::size_t) }
}

/// A boolean option; without options, false.
unsafe fn option(context: *mut JSContext, options: JSValue, key: &CStr) -> Result<bool, Threw> {
    // SAFETY: living values; the property is freed once it is read.
    unsafe {
        if !qjs::JS_IsObject(options) {
            return Ok(false);
        }
        let value = qjs::JS_GetPropertyStr(context, options, key.as_ptr());
        let set = qjs::JS_ToBool(context, value);
        qjs::JS_FreeValue(context, value);
        if set < 0 { Err(Threw) } else { Ok(set != 0) }
    }
}

/// The prototype that an object made by `new` has: a subclass has another.
unsafe fn prototype_of(context: *mut JSContext, new_target: JSValue) -> Result<JSValue, Threw> {
    // SAFETY: a living value.
    let prototype = unsafe { qjs::JS_GetPropertyStr(context, new_target, c"prototype".as_ptr()) };
    // SAFETY: as above.
    if unsafe { qjs::JS_IsException(prototype) } { Err(Threw) } else { Ok(prototype) }
}

unsafe fn argument(argc: c_int, argv: *mut JSValue, n: c_int) -> JSValue {
    // SAFETY: there are that many.
    if n < argc { unsafe { *argv.offset(n as isize) } } else { qjs::JS_UNDEFINED }
}

fn answer(value: Result<JSValue, Threw>) -> JSValue {
    value.unwrap_or(qjs::JS_EXCEPTION)
}

unsafe fn type_error(context: *mut JSContext, message: &CStr) -> Threw {
    // SAFETY: a text without `%`, which would ask for more arguments.
    unsafe { qjs::JS_ThrowTypeError(context, message.as_ptr()) };
    Threw
}

unsafe fn string(context: *mut JSContext, text: &str) -> JSValue {
    // SAFETY: QuickJS copies the text.
    unsafe { qjs::JS_NewStringLen(context, text.as_ptr().cast::<c_char>(), text.len() as qjs::size_t) }
}

/// The UTF-8 of a JS string, with U+FFFD for what is half of a character.
struct Text {
    context: *mut JSContext,
    start: *const c_char,
    len: usize,
}

impl Text {
    /// That of `value`, converted to a string: guests can have code run by that. `undefined` is empty.
    unsafe fn of(context: *mut JSContext, value: JSValue) -> Result<Text, Threw> {
        // SAFETY: a living value.
        unsafe {
            let value = if qjs::JS_IsUndefined(value) { string(context, "") } else { qjs::JS_DupValue(context, value) };
            let mut len = 0;
            let start = qjs::JS_ToCStringLen2(context, &mut len, value, false);
            qjs::JS_FreeValue(context, value);
            if start.is_null() { Err(Threw) } else { Ok(Text { context, start, len: len as usize }) }
        }
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        // SAFETY: that many bytes lie there until QuickJS has the text back, and nobody writes to them.
        well_formed(unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) })
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: QuickJS gave it, once; the context outlives the call of one of our functions.
        unsafe { qjs::JS_FreeCString(self.context, self.start) };
    }
}
