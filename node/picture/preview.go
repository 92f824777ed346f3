package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // the decoders that Preview knows
	"image/jpeg"
	_ "image/png" // the same

	_ "golang.org/x/image/webp" // the same
)

// Bounds of a picture of which a preview is made: what it takes when it is unpacked is known
// from its head, before anything is.
const (
	maxPixels = 50 << 20
	maxBytes  = 200 << 20
	largest   = 320 // pixels of a preview's longer side
	smallest  = 32
)

// bytesOf is how much a pixel takes when it is unpacked, at most.
func bytesOf(format string, m color.Model) int {
	switch {
	case format == "jpeg":
		return 4
	case format == "webp": // its pixels, and what they are unpacked from
		return 8
	case m == color.NRGBA64Model || m == color.RGBA64Model:
		return 8
	case m == color.Gray16Model:
		return 2
	}
	return 4
}

// Preview makes a JPEG of at most limit bytes of a picture. Nil: there is none, since it is
// no picture that this program reads, or one that is too large to be unpacked.
func Preview(b []byte, limit int) []byte {
	cfg, format, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil || cfg.Width <= 0 || cfg.Height <= 0 || cfg.Width > maxPixels/cfg.Height || cfg.Width*cfg.Height > maxBytes/bytesOf(format, cfg.ColorModel) {
		return nil
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	turn := byte(1)
	if format == "jpeg" {
		turn = turnOf(b)
	}
	for side := largest; side >= smallest; side = side * 3 / 4 {
		small := turned(shrunk(img, side), turn)
		for _, quality := range []int{75, 60, 45, 30} {
			var out bytes.Buffer
			if jpeg.Encode(&out, small, &jpeg.Options{Quality: quality}) == nil && out.Len() <= limit {
				return out.Bytes()
			}
		}
	}
	return nil
}

// turnOf is how a JPEG is turned.
func turnOf(b []byte) byte {
	for at := 2; at+4 <= len(b) && b[at] == 0xff && b[at+1] != markSOS; {
		n := int(b[at+2])<<8 | int(b[at+3])
		if n < 2 || at+2+n > len(b) {
			break
		}
		if b[at+1] == markAPP0+1 {
			if t := orientation(b[at+4 : at+2+n]); t > 0 {
				return t
			}
		}
		at += 2 + n
	}
	return 1
}

// shrunk gives a picture whose longer side has at most that many pixels: each is the mean of
// some of those that it stands for, over white.
func shrunk(img image.Image, side int) *image.RGBA {
	from := img.Bounds()
	w, h := from.Dx(), from.Dy()
	if long := max(w, h); long > side {
		w, h = max(1, w*side/long), max(1, h*side/long)
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	const samples = 4 // in each direction
	for y := range h {
		for x := range w {
			var r, g, b, a, n uint32
			for sy := range samples {
				for sx := range samples {
					px := from.Min.X + (x*samples+sx)*from.Dx()/(w*samples)
					py := from.Min.Y + (y*samples+sy)*from.Dy()/(h*samples)
					cr, cg, cb, ca := img.At(px, py).RGBA()
					r, g, b, a, n = r+cr, g+cg, b+cb, a+ca, n+1
				}
			}
			white := 0xffff - a/n
			out.SetRGBA(x, y, color.RGBA{uint8((r/n + white) >> 8), uint8((g/n + white) >> 8), uint8((b/n + white) >> 8), 0xff}) //nolint:gosec // of 16 bits
		}
	}
	return out
}

// turned gives a picture as people see it whose EXIF has that orientation.
func turned(img *image.RGBA, orientation byte) *image.RGBA {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	if orientation < 2 || orientation > 8 {
		return img
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if orientation >= 5 {
		out = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			tx, ty := x, y
			switch orientation {
			case 2:
				tx = w - 1 - x
			case 3:
				tx, ty = w-1-x, h-1-y
			case 4:
				ty = h - 1 - y
			case 5:
				tx, ty = y, x
			case 6:
				tx, ty = h-1-y, x
			case 7:
				tx, ty = h-1-y, w-1-x
			case 8:
				tx, ty = y, w-1-x
			}
			out.SetRGBA(tx, ty, img.RGBAAt(x, y))
		}
	}
	return out
}
