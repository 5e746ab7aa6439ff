#pragma once

/// Marks what the shared libraries offer. Everything else is hidden. Classes carry it even where
/// all of their members are inline, so that casts and exceptions work across libraries.
#define WEFT_API __attribute__((visibility("default")))
