// Names the class of PNG pictures by a file of `cvgssl export`: Recognize FILE.onnx PICTURE...
//
// Prints path, class, probability and verdict (known, unknown or not sure; none by trained
// runs), with tabs between. Reads 8 bits and fewer; others are refused.
// Needs .NET 8, Microsoft.ML.OnnxRuntime and StbImageSharp: dotnet run -- FILE.onnx PICTURE...

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using StbImageSharp;

internal static class Recognize
{
    private const ushort White = 255; // of 8 bits

    private static int Main(string[] words)
    {
        if (words.Length < 2)
        {
            Console.Error.WriteLine("Recognize FILE.onnx PICTURE...");
            return 1;
        }
        Console.OutputEncoding = new UTF8Encoding(false);
        string current = words[0];
        try
        {
            OrtEnv.Instance().DisableTelemetryEvents(); // of builds for Windows
            using var session = new InferenceSession(words[0]);
            Dictionary<string, string> about = session.ModelMetadata.CustomMetadataMap;
            if (!about.TryGetValue("format", out string? format) || format != "2")
            {
                throw new InvalidDataException("not a file of `cvgssl export` that this knows");
            }
            foreach (string path in words.Skip(1))
            {
                current = path;
                Console.WriteLine(path + "\t" + Answer(session, about, path));
            }
            return 0;
        }
        catch (Exception error)
        {
            Console.Error.WriteLine($"{current}: {error.Message.Split('\n')[0]}");
            return 1;
        }
    }

    private static string Answer(
        InferenceSession session, Dictionary<string, string> about, string path)
    {
        (ushort[] samples, long[] shape) = Read(path);
        using OrtValue picture = OrtValue.CreateTensorValueFromMemory(samples, shape);
        using OrtValue white = OrtValue.CreateTensorValueFromMemory(
            new ushort[] { White }, Array.Empty<long>());
        var inputs = new Dictionary<string, OrtValue> { ["picture"] = picture, ["white"] = white };
        bool hasScore = about.ContainsKey("unknown_below");
        string[] wanted = hasScore ? new[] { "probabilities", "score" } : new[] { "probabilities" };
        using var options = new RunOptions();
        using var outputs = session.Run(options, inputs, wanted);
        float[] probabilities = outputs[0].GetTensorDataAsSpan<float>().ToArray();
        int best = Array.IndexOf(probabilities, probabilities.Max());
        string verdict = "";
        if (hasScore)
        {
            verdict = probabilities[best] >= Number(about, "not_sure_below") ? "known" : "not sure";
            float score = outputs[1].GetTensorDataAsSpan<float>()[0];
            if (!(score >= Number(about, "unknown_below")))
            {
                verdict = "unknown";
            }
        }
        string name = JsonSerializer.Deserialize<string[]>(about["classes"])![best];
        string shown = probabilities[best].ToString("F6", CultureInfo.InvariantCulture);
        return $"{name}\t{shown}\t{verdict}";
    }

    private static double Number(Dictionary<string, string> about, string name) =>
        double.Parse(about[name], CultureInfo.InvariantCulture);

    /// <summary>Samples of a PNG, and their shape: rows, columns, 3.</summary>
    private static (ushort[] Samples, long[] Shape) Read(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        if (bytes.Length < 26 || Encoding.Latin1.GetString(bytes, 1, 3) != "PNG")
        {
            throw new InvalidDataException("not a PNG, all that this reads");
        }
        if (bytes[24] == 16) // bits of a sample; the decoder would cut them off
        {
            throw new InvalidDataException("has 16 bits, this reads 8");
        }
        if (bytes.AsSpan().IndexOf(Encoding.Latin1.GetBytes("eXIf")) >= 0)
        {
            throw new InvalidDataException("may be turned by its EXIF; save it without");
        }
        ImageResult image = ImageResult.FromMemory(bytes, ColorComponents.RedGreenBlue);
        ushort[] samples = Array.ConvertAll(image.Data, sample => (ushort)sample);
        return (samples, new long[] { image.Height, image.Width, 3 });
    }
}
