// Names the class of PNG pictures by a file of `cvgssl export`: recognize FILE.onnx PICTURE...
//
// Prints path, class, probability and verdict (known, unknown or not sure; none by trained
// runs), with tabs between.
// Needs ONNX Runtime (its C API, unpacked in $ORT here), libpng and C++17:
//
//   g++ -std=c++17 -O2 recognize.cpp -I$ORT/include -L$ORT/lib -Wl,-rpath,$ORT/lib
//       -lonnxruntime -lpng -o recognize

#include <onnxruntime_c_api.h>
#include <png.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

[[noreturn]] static void stop(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}

static std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) stop(path + ": no such file");
  return {std::istreambuf_iterator<char>(file), {}};
}

// A picture as the graph takes it: samples [rows, columns, channels] with 1 or 3 channels.
struct Picture {
  std::vector<uint16_t> samples;
  int64_t shape[3];
  uint16_t white;
};

static std::string reading;  // the picture at work, for libpng's messages

static void refuse(png_structp, png_const_charp reason) { stop(reading + ": " + reason); }
static void ignore(png_structp, png_const_charp) {}

static Picture read(const std::string& path) {
  reading = path;
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) stop(path + ": cannot be opened");
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, refuse, ignore);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_read_info(png, info);
  png_set_palette_to_rgb(png);
  png_set_expand_gray_1_2_4_to_8(png);
  png_set_strip_alpha(png);  // what is transparent counts as solid
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  const size_t rows = png_get_image_height(png, info), bytes = png_get_rowbytes(png, info);
  std::vector<png_byte> data(rows * bytes);
  std::vector<png_bytep> lines(rows);
  for (size_t row = 0; row < rows; row++) lines[row] = data.data() + row * bytes;
  png_read_image(png, lines.data());
  png_read_end(png, info);
  if (png_get_valid(png, info, PNG_INFO_eXIf)) {
    stop(path + ": may be turned by its EXIF; save it without");
  }
  const bool deep = png_get_bit_depth(png, info) == 16;
  Picture picture;
  picture.shape[0] = rows;
  picture.shape[1] = png_get_image_width(png, info);
  picture.shape[2] = png_get_channels(png, info);
  picture.white = deep ? 65535 : 255;
  picture.samples.resize(data.size() / (deep ? 2 : 1));
  for (size_t place = 0; place < picture.samples.size(); place++) {
    picture.samples[place] = deep ? data[2 * place] << 8 | data[2 * place + 1] : data[place];
  }
  png_destroy_read_struct(&png, &info, nullptr);
  std::fclose(file);
  return picture;
}

// The strings of a JSON array, in UTF-8.
static std::vector<std::string> strings(const std::string& json) {
  std::vector<std::string> texts;
  size_t place = 0;
  const auto unit = [&] {  // of UTF-16, four hexadecimal digits after "\u"
    const uint32_t code = std::stoul(json.substr(place, 4), nullptr, 16);
    place += 4;
    return code;
  };
  while ((place = json.find('"', place)) != std::string::npos) {
    std::string text;
    for (place++; json.at(place) != '"';) {
      if (json[place] != '\\') {
        text += json[place++];
        continue;
      }
      const char kind = json.at(place + 1);
      place += 2;
      if (kind != 'u') {
        const char *names = "bfnrt", *values = "\b\f\n\r\t", *known = std::strchr(names, kind);
        text += known ? values[known - names] : kind;
        continue;
      }
      uint32_t code = unit();
      if (code >= 0xD800 && code < 0xDC00) {  // the first half of a pair
        place += 2;
        code = 0x10000 + ((code - 0xD800) << 10) + (unit() - 0xDC00);
      }
      if (code < 0x80) {
        text += static_cast<char>(code);
        continue;
      }
      const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
      text += static_cast<char>((0xF00 >> more & 0xFF) | code >> 6 * more);
      for (int left = more - 1; left >= 0; left--) {
        text += static_cast<char>(0x80 | (code >> 6 * left & 0x3F));
      }
    }
    texts.push_back(text);
    place++;
  }
  return texts;
}

// A file of `cvgssl export`.
class Recognizer {
 public:
  std::vector<std::string> classes;
  bool has_score = false;
  double unknown_below = 0, not_sure_below = 0;
  int bit_depth = 16;

  explicit Recognizer(const std::string& path) : path_(path) {
    api_ = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!api_) stop("ONNX Runtime is older than the headers this was built with");
    OrtEnv* environment;
    OrtSessionOptions* options;
    check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "recognize", &environment));
    check(api_->DisableTelemetryEvents(environment));  // of builds for Windows
    check(api_->CreateSessionOptions(&options));
    const std::string model = contents(path);
    check(api_->CreateSessionFromArray(environment, model.data(), model.size(), options, &session_));
    check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_));
    if (metadata("format") != "2") stop(path + ": not a file of `cvgssl export` that this knows");
    classes = strings(metadata("classes"));
    bit_depth = std::stoi(metadata("bit_depth"));
    has_score = !metadata("unknown_below").empty();
    if (has_score) {
      unknown_below = std::stod(metadata("unknown_below"));
      not_sure_below = std::stod(metadata("not_sure_below"));
    }
  }

  // Probabilities of the classes; then the score, where the file has one.
  std::vector<float> operator()(Picture& picture) const {
    OrtValue *inputs[2], *outputs[2] = {nullptr, nullptr};
    const auto type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16;
    check(api_->CreateTensorWithDataAsOrtValue(memory_, picture.samples.data(),
                                               picture.samples.size() * 2, picture.shape, 3, type,
                                               &inputs[0]));
    check(api_->CreateTensorWithDataAsOrtValue(memory_, &picture.white, 2, nullptr, 0, type,
                                               &inputs[1]));
    const char *names[] = {"picture", "white"}, *wanted[] = {"probabilities", "score"};
    const int count = has_score ? 2 : 1;
    check(api_->Run(session_, nullptr, names, inputs, 2, wanted, count, outputs));
    std::vector<float> answer;
    for (int place = 0; place < count; place++) {
      void* values;
      check(api_->GetTensorMutableData(outputs[place], &values));
      const float* numbers = static_cast<const float*>(values);
      answer.insert(answer.end(), numbers, numbers + (place == 0 ? classes.size() : 1));
      api_->ReleaseValue(outputs[place]);
    }
    for (OrtValue* input : inputs) api_->ReleaseValue(input);
    return answer;
  }

 private:
  std::string path_;
  const OrtApi* api_;
  OrtSession* session_;
  OrtMemoryInfo* memory_;

  void check(OrtStatus* status) const {
    if (status) stop(path_ + ": " + api_->GetErrorMessage(status));
  }

  std::string metadata(const char* name) const {
    OrtModelMetadata* all;
    OrtAllocator* allocator;
    char* text;
    check(api_->GetAllocatorWithDefaultOptions(&allocator));
    check(api_->SessionGetModelMetadata(session_, &all));
    check(api_->ModelMetadataLookupCustomMetadataMap(all, allocator, name, &text));
    const std::string copy = text ? text : "";
    if (text) check(api_->AllocatorFree(allocator, text));
    api_->ReleaseModelMetadata(all);
    return copy;
  }
};

int main(int count, char** words) {
  if (count < 3) stop("recognize FILE.onnx PICTURE...");
  const Recognizer recognizer(words[1]);
  for (int place = 2; place < count; place++) {
    const std::string path = words[place];
    Picture picture = read(path);
    const int most = std::min<int>(picture.white, (1 << recognizer.bit_depth) - 1);
    if (*std::max_element(picture.samples.begin(), picture.samples.end()) > most) {
      stop(path + ": has samples over " + std::to_string(recognizer.bit_depth) + " bits");
    }
    const std::vector<float> answer = recognizer(picture);
    const auto best = std::max_element(answer.begin(), answer.begin() + recognizer.classes.size());
    const char* verdict = "";
    if (recognizer.has_score) {
      verdict = *best >= recognizer.not_sure_below ? "known" : "not sure";
      if (!(answer.back() >= recognizer.unknown_below)) verdict = "unknown";
    }
    std::printf("%s\t%s\t%.6f\t%s\n", path.c_str(),
                recognizer.classes[best - answer.begin()].c_str(), *best, verdict);
  }
}
