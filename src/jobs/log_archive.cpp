#include "log_archive.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <system_error>

namespace saathii::jobs {
namespace {

constexpr std::size_t chunk_bytes = 65'536;
constexpr int most_archive_names = 1000;

/// Compresses what is written and passes it on to a file.
class GzipWriter {
 public:
  explicit GzipWriter(int fd) : fd_(fd) {
    constexpr int window_bits_and_gzip = 15 + 16;
    constexpr int memory_level = 8;
    if (deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window_bits_and_gzip,
                     memory_level, Z_DEFAULT_STRATEGY) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~GzipWriter() { deflateEnd(&stream_); }
  GzipWriter(const GzipWriter&) = delete;
  GzipWriter& operator=(const GzipWriter&) = delete;

  /// Returns 0, or the error that writing ended with.
  [[nodiscard]] int write(char* bytes, std::size_t size) {
    stream_.next_in = reinterpret_cast<Bytef*>(bytes);
    stream_.avail_in = static_cast<uInt>(size);
    return pass_on(Z_NO_FLUSH);
  }
  [[nodiscard]] int finish() { return pass_on(Z_FINISH); }

 private:
  int pass_on(int flush) {
    std::array<char, chunk_bytes> out;
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = static_cast<uInt>(out.size());
      deflate(&stream_, flush);
      std::size_t done = 0;
      const std::size_t size = out.size() - stream_.avail_out;
      while (done < size) {
        const auto part = ::write(fd_, out.data() + done, size - done);
        if (part < 0 && errno != EINTR) return errno;
        if (part > 0) done += static_cast<std::size_t>(part);
      }
    } while (stream_.avail_out == 0);
    return 0;
  }

  int fd_;
  z_stream stream_{};
};

struct PartialFile {
  int folder;
  const std::string& name;
  ~PartialFile() { unlinkat(folder, name.c_str(), 0); }
};

/// As many bytes as the file had when it was chosen: one that grows meanwhile
/// is found out afterwards.
void compress(int in, int out, const Seen& seen, const Context& context) {
  GzipWriter writer(out);
  std::array<char, chunk_bytes> chunk;
  for (off_t at = 0; at < seen.status.st_size;) {
    context.throw_if_stopped();
    const auto size = pread(in, chunk.data(), chunk.size(), at);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) fail_file("read", seen.name, errno);
    if (size == 0) throw FileError("cannot archive " + printable(seen.name) + ": it was cut short");
    if (const int error = writer.write(chunk.data(), static_cast<std::size_t>(size)); error != 0) {
      fail_file("archive", seen.name, error);
    }
    at += size;
  }
  if (const int error = writer.finish(); error != 0) fail_file("archive", seen.name, error);
}

}  // namespace

std::string printable(std::string_view name) {
  std::string text(name);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
  return text;
}

void fail_file(std::string_view what, std::string_view name, int error) {
  throw FileError(fmt::format("cannot {} {}: {}", what, printable(name),
                              std::generic_category().message(error)));
}

LogArchive::LogArchive(const std::string& path) {
  if (!path.starts_with('/')) {
    throw std::runtime_error("the archive_folder " + path + " is not an absolute path");
  }
  mkdir(path.c_str(), 0750);
  folder_ = Descriptor(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_.is_open()) {
    throw std::runtime_error(fmt::format("cannot open the archive_folder {}: {}", path,
                                         std::generic_category().message(errno)));
  }
}

std::string LogArchive::add(int file, const Seen& seen, const Context& context) const {
  const auto partial = fmt::format(".{}.partial", seen.status.st_ino);
  unlinkat(folder_.get(), partial.c_str(), 0);
  const Descriptor out(openat(folder_.get(), partial.c_str(),
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out.is_open()) fail_file("archive", seen.name, errno);
  const PartialFile guard{folder_.get(), partial};
  compress(file, out.get(), seen, context);
  const std::array<timespec, 2> times = {seen.status.st_atim, seen.status.st_mtim};
  if (fchmod(out.get(), seen.status.st_mode & 0777U) != 0 ||
      futimens(out.get(), times.data()) != 0 || fsync(out.get()) != 0) {
    fail_file("archive", seen.name, errno);
  }
  return give_name(partial, seen.name);
}

void LogArchive::remove(const std::string& name) const { unlinkat(folder_.get(), name.c_str(), 0); }

bool LogArchive::is_same_folder(int folder) const {
  struct stat own {};
  struct stat other {};
  return fstat(folder_.get(), &own) == 0 && fstat(folder, &other) == 0 &&
         own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

std::string LogArchive::give_name(const std::string& partial, const std::string& original) const {
  for (int number = 0; number < most_archive_names; ++number) {
    auto name = original + (number == 0 ? ".gz" : fmt::format(".{}.gz", number));
    if (linkat(folder_.get(), partial.c_str(), folder_.get(), name.c_str(), 0) == 0) {
      if (fsync(folder_.get()) == 0) return name;
      const int error = errno;
      remove(name);
      fail_file("archive", original, error);
    }
    if (errno != EEXIST) fail_file("archive", original, errno);
  }
  fail_file("archive", original, EEXIST);
}

}  // namespace saathii::jobs
