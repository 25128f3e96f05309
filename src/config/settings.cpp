#include "saathii/config/settings.hpp"

#include <stdexcept>
#include <utility>

namespace saathii::config {
namespace {

template <class T>
const T& get(const std::map<std::string, Value, std::less<>>& values, std::string_view name) {
  const auto found = values.find(name);
  if (found == values.end()) {
    throw std::logic_error("setting \"" + std::string(name) + "\" was not declared");
  }
  const auto* value = std::get_if<T>(&found->second);
  if (value == nullptr) {
    throw std::logic_error("setting \"" + std::string(name) + "\" has another type");
  }
  return *value;
}

}  // namespace

Settings::Settings(const std::vector<Setting>& declared) {
  for (const auto& setting : declared) {
    const bool is_new = values_.emplace(std::string(setting.name), setting.default_value).second;
    if (!is_new) {
      throw std::logic_error("setting \"" + std::string(setting.name) + "\" is declared twice");
    }
  }
}

void Settings::set(std::string_view name, Value value) {
  const auto found = values_.find(name);
  if (found == values_.end()) {
    throw std::logic_error("setting \"" + std::string(name) + "\" was not declared");
  }
  if (found->second.index() != value.index()) {
    throw std::logic_error("setting \"" + std::string(name) + "\" has another type");
  }
  found->second = std::move(value);
}

bool Settings::flag(std::string_view name) const { return get<bool>(values_, name); }
std::int64_t Settings::integer(std::string_view name) const {
  return get<std::int64_t>(values_, name);
}
Duration Settings::duration(std::string_view name) const { return get<Duration>(values_, name); }
const std::string& Settings::text(std::string_view name) const {
  return get<std::string>(values_, name);
}
const std::vector<std::string>& Settings::list(std::string_view name) const {
  return get<std::vector<std::string>>(values_, name);
}

}  // namespace saathii::config
