#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace saathii::app {

/// A small file that is whole or not there: replaced at once, and durably. Blocks;
/// any thread, one writer at a time.
class StateFile {
 public:
  /// More than this is not read.
  static constexpr std::size_t largest_bytes = 1 << 20;

  /// In the first folder of $STATE_DIRECTORY; without one, nothing is kept.
  [[nodiscard]] static StateFile in_state_folder(std::string_view name);
  /// An empty path: nothing is kept.
  explicit StateFile(std::filesystem::path file) : file_(std::move(file)) {}

  /// Nothing if there is no such file. Throws std::system_error.
  [[nodiscard]] std::optional<std::string> read() const;
  /// Throws std::runtime_error with the file and what failed; the old file is then
  /// still there or the new one, but no part of one.
  void write(const std::string& text) const;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_; }

 private:
  std::filesystem::path file_;
};

}  // namespace saathii::app
