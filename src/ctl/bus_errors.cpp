#include <array>
#include <string_view>
#include <utility>

#include "bus.hpp"

namespace saathii::ctl {

Refusal::Kind kind_of_error(const std::string& name) {
  using Kind = Refusal::Kind;
  static constexpr std::pair<std::string_view, Kind> known[] = {
      {"com.saathiiapp.Tasks1.Error.UnknownJob", Kind::unknown_job},
      {"com.saathiiapp.Tasks1.Error.InvalidArgument", Kind::invalid_argument},
      {"com.saathiiapp.Tasks1.Error.AlreadyWaiting", Kind::already_waiting},
      {"com.saathiiapp.Tasks1.Error.ConfigurationInvalid", Kind::configuration_invalid},
      {"com.saathiiapp.Tasks1.Error.NotAuthorized", Kind::denied},
      {"com.saathiiapp.Tasks1.Error.Overloaded", Kind::overloaded},
      {"com.saathiiapp.Tasks1.Error.Unavailable", Kind::unavailable},
      {"com.saathiiapp.Tasks1.Error.NotFound", Kind::not_found},
      {"com.saathiiapp.Tasks1.Error.ShuttingDown", Kind::shutting_down},
      {"com.saathiiapp.Tasks1.Error.Standby", Kind::standby},
      {"com.saathiiapp.Tasks1.Error.Failed", Kind::failed},
      {"org.freedesktop.DBus.Error.ServiceUnknown", Kind::not_running},
      {"org.freedesktop.DBus.Error.NameHasNoOwner", Kind::not_running},
      {"org.freedesktop.DBus.Error.NoReply", Kind::no_answer},
      {"org.freedesktop.DBus.Error.Timeout", Kind::no_answer},
      {"org.freedesktop.DBus.Error.AccessDenied", Kind::denied},
      {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", Kind::denied},
      {"org.freedesktop.DBus.Error.UnknownMethod", Kind::another_version},
      {"org.freedesktop.DBus.Error.UnknownObject", Kind::another_version},
      {"org.freedesktop.DBus.Error.UnknownInterface", Kind::another_version},
      {"org.freedesktop.DBus.Error.UnknownProperty", Kind::another_version},
      {"org.freedesktop.DBus.Error.InvalidSignature", Kind::another_version},
      {"org.freedesktop.DBus.Error.InvalidArgs", Kind::another_version},
      {"org.freedesktop.DBus.Error.LimitsExceeded", Kind::overloaded},
      {"org.freedesktop.DBus.Error.Disconnected", Kind::no_bus},
      {"System.Error.ENOTCONN", Kind::no_bus},
      {"System.Error.EPIPE", Kind::no_bus},
  };
  for (const auto& [word, kind] : known) {
    if (word == name) {
      return kind;
    }
  }
  return Kind::failed;
}

}  // namespace saathii::ctl
