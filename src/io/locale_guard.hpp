#pragma once

#include <locale.h>

namespace weft::io {

/// Gives the calling thread UTF-8 names while it is alive: libarchive converts names to the
/// locale's encoding, which is ASCII in a program that never called setlocale.
class Utf8Locale {
 public:
  Utf8Locale() : previous_(uselocale(utf8())) {}
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;
  ~Utf8Locale() { uselocale(previous_); }

 private:
  static locale_t utf8() {
    static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return locale;
  }
  locale_t previous_;
};

}  // namespace weft::io
