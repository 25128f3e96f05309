#include "saathii/log/messages.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"

// Every event has its entry in systemd/saathiid.catalog, and every entry is of
// use to who reads it below an event.

namespace fs = std::filesystem;
using saathii::log::message_ids;

namespace {

const fs::path source = SAATHII_SOURCE_DIR;
const fs::path catalog_file = source / "systemd/saathiid.catalog";

struct Entry {
  std::map<std::string, std::string> headers;
  std::string text;
};

std::string read(const fs::path& path) {
  std::ifstream file(path);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// By id, as systemd reads the format: "-- ID", headers, an empty line, text.
std::map<std::string, Entry> read_catalog() {
  static const std::regex head("-- ([0-9a-f]{32})");
  static const std::regex header("([A-Z][A-Za-z-]*): (.+)");
  std::map<std::string, Entry> entries;
  Entry* entry = nullptr;
  bool in_headers = false;
  std::ifstream file(catalog_file);
  std::smatch match;
  for (std::string line; std::getline(file, line);) {
    INFO(line);
    if (std::regex_match(line, match, head)) {
      const auto [added, is_new] = entries.emplace(match[1], Entry{});
      CHECK(is_new);
      entry = &added->second;
      in_headers = true;
    } else if (entry == nullptr) {
      REQUIRE((line.empty() || line[0] == '#'));
    } else if (line.empty() && in_headers) {
      in_headers = false;
    } else if (in_headers) {
      REQUIRE(std::regex_match(line, match, header));
      entry->headers[match[1]] = match[2];
    } else {
      // systemd drops a comment, and takes "-- " for the next entry.
      CHECK(line.substr(0, 1) != "#");
      CHECK(line.substr(0, 3) != "-- ");
      entry->text += line + "\n";
    }
  }
  return entries;
}

std::set<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex each(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), each), end; at != end; ++at) {
    found.insert((*at)[1]);
  }
  return found;
}

std::string output_of(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                             ::pclose);
  REQUIRE(pipe != nullptr);
  std::string all;
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe.get()) != nullptr) {
    all += buffer.data();
  }
  return all;
}

}  // namespace

TEST_CASE("ids of events are random UUIDs, and each is of one event") {
  std::set<std::string_view> ids;
  std::set<std::string_view> names;
  for (const auto& [message, id, name] : message_ids) {
    INFO(name);
    // Version 4 of the RFC's variant, as systemd-id128 makes them.
    CHECK(std::regex_match(std::string(id),
                           std::regex("[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}")));
    CHECK(ids.insert(id).second);
    CHECK(names.insert(name).second);
    CHECK(saathii::log::id_of(message) == id);
  }
  CHECK(saathii::log::id_of(saathii::log::Message::none).empty());
}

TEST_CASE("each event has its entry in the catalog, and each entry its event") {
  const auto entries = read_catalog();
  for (const auto& [message, id, name] : message_ids) {
    INFO(name);
    CHECK(entries.count(std::string(id)) == 1);
  }
  CHECK(entries.size() == std::size(message_ids));
}

TEST_CASE("each entry says what it is of, and names a command to run next") {
  const std::regex command(
      R"((^|\n)    (sudo )?([A-Z_]+=\S+ )?(/usr/sbin/)?(saathiictl|saathiid|systemctl|journalctl|psql|redis-cli|df|namei) )");
  std::set<std::string> subjects;
  for (const auto& [id, entry] : read_catalog()) {
    const auto& headers = entry.headers;
    INFO(id);
    REQUIRE(headers.count("Subject") == 1);
    INFO(headers.at("Subject"));
    CHECK(subjects.insert(headers.at("Subject")).second);
    REQUIRE(headers.count("Defined-By") == 1);
    CHECK(headers.at("Defined-By") == "saathiid");
    REQUIRE(headers.count("Documentation") == 1);
    CHECK(headers.at("Documentation") == "man:saathiid(8)");
    CHECK(headers.size() == 3);
    CHECK(std::regex_search(entry.text, command));
  }
}

TEST_CASE("the manual has each field that the catalog names") {
  const std::string manual = read(source / "deploy/man/saathiid.8");
  const auto documented = matches(manual, R"((?:^|\n)\.It Li ([A-Z_]+))");
  for (const auto& field : matches(read(catalog_file), "@([A-Z_]+)@")) {
    if (field == "NAME") {
      continue;  // the comment that explains the form
    }
    INFO(field);
    CHECK(documented.count(field) == 1);
  }
}

TEST_CASE("systemd takes the catalog") {
  if (std::system("command -v journalctl >/dev/null") != 0) {
    WARN("there is no journalctl here: only the form was checked");
    return;
  }
  std::string root = (fs::temp_directory_path() / "saathii-catalog-XXXXXX").string();
  REQUIRE(::mkdtemp(root.data()) != nullptr);
  fs::create_directories(fs::path(root) / "usr/lib/systemd/catalog");
  fs::create_directories(fs::path(root) / "var/lib/systemd/catalog");
  fs::copy_file(catalog_file, fs::path(root) / "usr/lib/systemd/catalog/saathiid.catalog");
  const std::string journalctl = "journalctl --no-pager --root='" + root + "' ";
  const std::string complaints = output_of(journalctl + "--update-catalog 2>&1");
  const auto listed =
      matches(output_of(journalctl + "--list-catalog"), "(?:^|\n)([0-9a-f]{32}) saathiid: ");
  fs::remove_all(root);
  CHECK(complaints.empty());
  CHECK(listed.size() == std::size(message_ids));
}
