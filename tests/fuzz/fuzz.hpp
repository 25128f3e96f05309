#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

// What the fuzz targets share. A target is a program that libFuzzer drives: it calls
// LLVMFuzzerTestOneInput() with bytes of its making, and what breaks a property ends it.

namespace saathii::fuzz {

/// Ends the program, and so the run, unless the property holds.
inline void require(bool holds, const char* property, std::string_view about = {}) {
  if (holds) {
    return;
  }
  std::fprintf(stderr, "\nbroken: %s: \"%.*s\"\n", property, static_cast<int>(about.size()),
               about.data());
  std::abort();
}

/// Takes an input apart: numbers off its front, then the rest as text.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  /// 0 where the input has no more.
  std::uint8_t byte() {
    if (rest_.empty()) {
      return 0;
    }
    const auto first = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }

  std::uint64_t word() {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) {
      value = value << 8U | byte();
    }
    return value;
  }

  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

}  // namespace saathii::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
