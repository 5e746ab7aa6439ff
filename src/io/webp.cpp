#include <memory>

#include <webp/decode.h>
#include <webp/demux.h>

#include "core/fail.hpp"
#include "io/image_codecs.hpp"

namespace weft::io {
namespace {

const char* meaning_of(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "a feature that libwebp does not know";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "the file is truncated";
    default:
      return "the bitstream is broken";
  }
}

/// The chunks and frames of a whole file in memory.
class WebpFile {
 public:
  WebpFile(std::span<const uint8_t> bytes, std::string_view name)
      : demuxer_(demux(bytes, name), &WebPDemuxDelete) {
    if (!WebPDemuxGetFrame(demuxer_.get(), 1, &frame_)) fail("{}: damaged WebP: no frame", name);
  }
  ~WebpFile() { WebPDemuxReleaseIterator(&frame_); }
  WebpFile(const WebpFile&) = delete;
  WebpFile& operator=(const WebpFile&) = delete;

  uint32_t width() const { return WebPDemuxGetI(demuxer_.get(), WEBP_FF_CANVAS_WIDTH); }
  uint32_t height() const { return WebPDemuxGetI(demuxer_.get(), WEBP_FF_CANVAS_HEIGHT); }
  const WebPIterator& first_frame() const { return frame_; }

  std::string chunk(const char* id) const {
    WebPChunkIterator at = {};
    std::string out;
    if (WebPDemuxGetChunk(demuxer_.get(), id, 1, &at))
      out.assign(reinterpret_cast<const char*>(at.chunk.bytes), at.chunk.size);
    WebPDemuxReleaseChunkIterator(&at);
    return out;
  }

 private:
  static WebPDemuxer* demux(std::span<const uint8_t> bytes, std::string_view name) {
    const WebPData data{bytes.data(), bytes.size()};
    WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
    auto* demuxer = WebPDemuxPartial(&data, &state);
    if (demuxer && state == WEBP_DEMUX_DONE) return demuxer;
    WebPDemuxDelete(demuxer);
    if (state == WEBP_DEMUX_PARSE_ERROR) fail("{}: damaged WebP: its chunks are broken", name);
    fail("{}: damaged WebP: the file is truncated ({} bytes)", name, bytes.size());
  }

  std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer_;
  WebPIterator frame_ = {};
};

/// libwebp's memory for one frame beside the result.
uint64_t work_bytes(const WebPBitstreamFeatures& frame) {
  constexpr int kLossless = 2;
  const auto width = static_cast<uint64_t>(frame.width),
             height = static_cast<uint64_t>(frame.height);
  // Alpha of a lossy frame is a lossless image of its own.
  return frame.format == kLossless || frame.has_alpha ? 8 * width * height : 128 * width;
}

}  // namespace

DecodedImage decode_webp(std::span<const uint8_t> bytes, std::string_view name,
                         const ImageLimits& limits) {
  const WebpFile file(bytes, name);
  const auto& frame = file.first_frame();
  WebPDecoderConfig config;
  WebPInitDecoderConfig(&config);
  const auto data = frame.fragment;
  auto status = WebPGetFeatures(data.bytes, data.size, &config.input);
  if (status != VP8_STATUS_OK) fail("{}: damaged WebP: {}", name, meaning_of(status));
  const uint64_t width = file.width(), height = file.height();
  check_size(name, width, height, work_bytes(config.input), limits);
  DecodedImage out{.image = {.width = static_cast<int64_t>(width),
                             .height = static_cast<int64_t>(height),
                             .rgb = std::vector<uint8_t>(3 * width * height)},
                   .tags = {.exif = file.chunk("EXIF"), .xmp = file.chunk("XMP ")}};
  // A first frame smaller than the canvas leaves the rest black.
  const auto x = static_cast<uint64_t>(frame.x_offset), y = static_cast<uint64_t>(frame.y_offset);
  const auto frame_width = static_cast<uint64_t>(config.input.width),
             frame_height = static_cast<uint64_t>(config.input.height);
  if (x + frame_width > width || y + frame_height > height)
    fail("{}: damaged WebP: its first frame lies outside the {} x {} pixels of the canvas", name,
         width, height);
  const uint64_t first = 3 * (y * width + x);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {.rgba = out.image.rgb.data() + first,
                          .stride = static_cast<int>(3 * width),
                          .size = out.image.rgb.size() - first};
  status = WebPDecode(data.bytes, data.size, &config);
  if (status != VP8_STATUS_OK)
    fail("{}: damaged WebP of {} x {} pixels: {}", name, width, height, meaning_of(status));
  return out;
}

}  // namespace weft::io
