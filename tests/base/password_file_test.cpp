#include "saathii/base/password_file.hpp"

#include <sys/stat.h>

#include <string>

#include "../support/temporary_file.hpp"
#include "capture_stderr.hpp"
#include "catch.hpp"
#include "saathii/log/log.hpp"

using namespace saathii;
using saathii::test::TemporaryFile;

namespace {

std::string read(const PasswordSource& source) {
  try {
    return read_password(source).value_or("(none)");
  } catch (const PasswordUnreadable& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a password is a file's one line, read anew each time") {
  const TemporaryFile file;
  const PasswordSource source{file.path(), ""};
  for (const auto* text : {"word", "word\n", "word\r\n"}) {
    file.write(text);
    CHECK(read(source) == "word");
  }
  file.write(" two words ");
  CHECK(read(source) == " two words ");
  const std::string longest(max_password_bytes, 'x');
  file.write(longest + "\r\n");
  CHECK(read(source) == longest);
}

TEST_CASE("a file that holds no password says which it is, why, and what to do") {
  const TemporaryFile file;
  const PasswordSource source{file.path(), "/nowhere"};
  const std::string begin = "the password file " + file.path();
  const std::string alone = ": let it hold the password and nothing else";
  CHECK(read(source) ==
        begin + " does not exist: write the password into it, or correct password_file");
  file.write("\n");
  CHECK(read(source) ==
        begin + " is empty: write the password into it, or set password_file = \"\"");
  file.write("secret\nword\n");
  CHECK(read(source) == begin + " has more than one line" + alone);
  file.write(std::string("sec\0ret", 7));
  CHECK(read(source) == begin + " has more than one line" + alone);
  for (const std::size_t more : {1U, 2U, 3U, 100'000U}) {
    file.write(std::string(max_password_bytes + more, 's'));
    CHECK(read(source) == begin + " is longer than 4096 bytes" + alone);
  }
  CHECK(read({file.folder(), ""}) ==
        "the password file " + file.folder() +
            " is not a plain file: name one that holds the password and nothing else");
  CHECK(read({file.path() + "/below", ""}).find("cannot be read (Not a directory)") !=
        std::string::npos);
  const std::string pipe = file.folder() + "/pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(read({pipe, ""}).find("is not a plain file") != std::string::npos);
}

TEST_CASE("a credential may be missing or empty, and counts if no file is configured") {
  const TemporaryFile credential;
  CHECK(read({"", ""}) == "(none)");
  CHECK(read({"", credential.path()}) == "(none)");
  credential.write("\n");
  CHECK(read({"", credential.path()}) == "(none)");
  credential.write("handed over\n");
  CHECK(read({"", credential.path()}) == "handed over");
  const TemporaryFile file;
  file.write("configured");
  CHECK(read({file.path(), credential.path()}) == "configured");
}

TEST_CASE("a file that everybody can read is warned of once, and serves") {
  const TemporaryFile file;
  file.write("hunter2");
  REQUIRE(::chmod(file.path().c_str(), 0644) == 0);
  log::set_level(log::Level::info);
  const CaptureStderr capture;
  CHECK(read({file.path(), ""}) == "hunter2");
  CHECK(read({file.path(), ""}) == "hunter2");
  const std::string text = capture.text();
  const std::string warning =
      "every user of this machine can read the password file " + file.path();
  const auto first = text.find(warning);
  CHECK(first != std::string::npos);
  CHECK(text.find(warning, first + 1) == std::string::npos);
  CHECK(text.find("hunter2") == std::string::npos);
}
